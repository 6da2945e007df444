// Runs on many threads at once by protocol v2, and prints what each message says as a line for each piece:
// {"stream": 3, "text": "w1 "}. argv: the server, the assistant; stdin: a line of JSON, [{"input": …}, …].
import { createInterface } from "node:readline";
import { Client } from "@langchain/langgraph-sdk";

const [url, assistantId] = process.argv.slice(2);
const client = new Client({ apiUrl: url, apiKey: null });
const print = (value) => console.log(JSON.stringify(value));

async function follow({ input }, stream) {
  const thread = client.threads.stream({ assistantId });
  try {
    const messages = (async () => {
      for await (const message of thread.messages) {
        for await (const text of message.text) print({ stream, text });
        return;
      }
    })();
    await thread.run.start({ input });
    await messages;
    print({ stream, output: await thread.output });
  } catch (error) {
    print({ stream, error: error.message });
  } finally {
    await thread.close();
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  await Promise.all(JSON.parse(line).map(follow));
  break;
}
