// Streams many runs at once with one client, and prints each part as a line: {"stream": 3, "part": …}.
// argv: the server, the assistant; stdin: a line of JSON, [{"thread": …, "payload": …}, …].
import { createInterface } from "node:readline";
import { Client } from "@langchain/langgraph-sdk";

const [url, assistant] = process.argv.slice(2);
const client = new Client({ apiUrl: url, apiKey: null });
const print = (value) => console.log(JSON.stringify(value));

async function follow({ thread, payload }, stream) {
  try {
    for await (const { event, data, id } of client.runs.stream(thread, assistant, payload)) {
      print({ stream, part: { event, data, id } });
    }
    print({ stream, done: true });
  } catch (error) {
    print({ stream, error: error.message });
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  await Promise.all(JSON.parse(line).map(follow));
  break;
}
