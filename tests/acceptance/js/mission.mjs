// The mission's snippet, as a user writes it from the SDK's documentation.
// Each content is printed as a line of JSON as soon as it is there.
import { Client } from "@langchain/langgraph-sdk";

const [, , apiUrl, topic] = process.argv;
const client = new Client({ apiUrl });
const thread = await client.threads.create();
const threadID = thread["thread_id"];
const assistantID = "agent";

const streamResponse = client.runs.stream(threadID, assistantID, {
  input: { topic },
  streamMode: "messages-tuple",
});
for await (const chunk of streamResponse) {
  if (chunk.event !== "messages") {
    continue;
  }
  console.log(JSON.stringify(chunk.data[0]["content"]));
}
