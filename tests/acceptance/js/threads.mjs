// Protocol v2 with the JavaScript client: chat, two models at once, a tool call, an interrupt and its answer.
import { Client } from "@langchain/langgraph-sdk";

const client = new Client({ apiUrl: process.argv[2], apiKey: null });
const told = {};

async function stream(graph, work) {
  const thread = client.threads.stream({ assistantId: graph });
  try {
    told[graph] = await work(thread);
  } finally {
    await thread.close();
  }
}

async function texts(thread) {
  const found = [];
  for await (const message of thread.messages) found.push(message.text.then((text) => text));
  return Promise.all(found);
}

const hi = { messages: [{ role: "user", content: "hi" }] };

await stream("chat", async (thread) => {
  const reading = texts(thread);
  await thread.run.start({ input: hi });
  return reading;
});
await stream("duet", async (thread) => {
  const reading = texts(thread);
  await thread.run.start({ input: { messages: [] } });
  return (await reading).sort();
});
await stream("tools", async (thread) => {
  const reading = (async () => {
    const calls = {}; // the client gives a call once more when it has ended
    for await (const call of thread.toolCalls) calls[call.callId] = [call.name, call.input, await call.output];
    return calls;
  })();
  await thread.run.start({ input: hi });
  return reading;
});
await stream("intr", async (thread) => {
  await thread.run.start({ input: { x: "1" } });
  for await (const values of thread.values) void values;
  const [question] = thread.interrupts;
  await thread.input.respond({
    namespace: question.namespace,
    interrupt_id: question.interruptId,
    response: "yes",
  });
  const [{ run_id }] = await client.runs.list(thread.threadId);
  return [question.payload, (await client.runs.join(thread.threadId, run_id)).log];
});
console.log(JSON.stringify(told));
process.exit(0);
