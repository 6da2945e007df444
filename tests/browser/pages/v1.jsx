// The page of a hook that speaks the first generation: `useStream` of @langchain/langgraph-sdk/react.
import { useState } from "react";
import { Chat, settings, show, useThread } from "./chat.jsx";

export function showWith(useStream) {
  show(function Page() {
    const { threadId, onThreadId } = useThread();
    const [namespaces, setNamespaces] = useState([]);
    const stream = useStream({
      ...settings,
      threadId,
      onThreadId,
      reconnectOnMount: true,
      fetchStateHistory: true,
      onUpdateEvent: (_, { namespace }) => {
        const [name] = namespace?.at(-1)?.split(":") ?? [];
        if (name) setNamespaces((seen) => [...new Set([...seen, name])]);
      },
    });
    const submit = (input, options) => stream.submit(input, { streamSubgraphs: true, ...options });
    const answer = (resume) => submit(undefined, { command: { resume } });
    const { messages, interrupts, error, isLoading, values, stop, toolProgress } = stream;
    const shown = { messages, interrupts, error, isLoading, values, stop, submit };
    return (
      <Chat {...{ stream: shown, threadId, answer, namespaces }}>
        <ul id="progress">{toolProgress?.map(({ name, state }) => <li key={name}>{`${name} ${state}`}</li>)}</ul>
      </Chat>
    );
  });
}
