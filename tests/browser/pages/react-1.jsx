// The page of @langchain/react 1.x, which speaks protocol v2 only: over SSE, or over a WebSocket.
import { useStream } from "@langchain/react";
import { Chat, settings, show, transport, useThread } from "./chat.jsx";

show(function Page() {
  const { threadId, onThreadId } = useThread();
  const stream = useStream({ ...settings, transport, threadId, onThreadId });
  const namespaces = [...stream.subgraphs.values()].map((subgraph) => subgraph.nodeName);
  // By its id: without one the hook answers what its stream has told of, which right after a reload is nothing.
  const answer = (value) => stream.respond(value, { interruptId: stream.interrupt.id });
  return <Chat {...{ stream, threadId, namespaces, answer }} />;
});
