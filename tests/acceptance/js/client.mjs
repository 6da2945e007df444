// Runs one call of the SDK for each line of JSON on stdin, and prints what comes back as lines of JSON:
// {"call": "runs.stream", "args": [...]} → {"part": …}… and {"done": true}, or {"result": …}, or {"error": …}.
import { createInterface } from "node:readline";
import { Client } from "@langchain/langgraph-sdk";

const client = new Client({ apiUrl: process.argv[2], apiKey: null });
const print = (value) => console.log(JSON.stringify(value));

for await (const line of createInterface({ input: process.stdin })) {
  const { call, args } = JSON.parse(line);
  const [area, method] = call.split(".");
  try {
    const answer = client[area][method](...args);
    if (answer[Symbol.asyncIterator] === undefined) {
      print({ result: await answer });
      continue;
    }
    for await (const { event, data, id } of answer) {
      print({ part: { event, data, id } });
    }
    print({ done: true });
  } catch (error) {
    print({ error: { name: error.name, message: error.message, status: error.status } });
  }
}
