// A small chat over any hook: what the hook returns is what the page shows, and what the tests read.
// The address says which server, assistant and thread: ?api=…&assistant=…&thread=…&input={…}&transport=…
import { useState } from "react";
import { createRoot } from "react-dom/client";

const query = new URLSearchParams(location.search);

export const settings = { apiUrl: query.get("api"), assistantId: query.get("assistant") };
export const transport = query.get("transport") ?? "sse";
const more = JSON.parse(query.get("input") ?? "{}");

/** The thread of the address, which a new thread is written to: a reload comes back to it. */
export function useThread() {
  const [threadId, setThreadId] = useState(query.get("thread"));
  const onThreadId = (id) => {
    query.set("thread", id);
    history.replaceState(null, "", `?${query}`);
    setThreadId(id);
  };
  return { threadId, onThreadId };
}

const textOf = (content) =>
  typeof content === "string" ? content : content.map((block) => block.text ?? "").join("");

function Message({ message }) {
  const calls = message.tool_calls?.map((call) => `${call.name}(${JSON.stringify(call.args)})`) ?? [];
  return (
    <li data-type={message.type} data-id={message.id} data-calls={calls.join()}>
      {textOf(message.content)}
    </li>
  );
}

export function Chat({ stream, threadId, answer, namespaces = [], children }) {
  const [text, setText] = useState("");
  const say = (event) => {
    event.preventDefault();
    setText("");
    const messages = [{ type: "human", content: text }];
    stream.submit({ ...more, messages });
  };
  const questions = stream.interrupts.map((asked) => asked.value);
  return (
    <main data-loading={stream.isLoading} data-thread={threadId ?? ""} data-namespaces={namespaces.join()}>
      <ol id="messages">
        {stream.messages.map((message, index) => (
          <Message key={message.id ?? index} message={message} />
        ))}
      </ol>
      {questions.length > 0 && <output id="question">{JSON.stringify(questions)}</output>}
      {stream.error != null && <p id="error">{String(stream.error.message ?? stream.error)}</p>}
      <pre id="values">{JSON.stringify(stream.values)}</pre>
      <form onSubmit={say}>
        <input id="text" value={text} onChange={(event) => setText(event.target.value)} />
        <button id="send">Send</button>
      </form>
      <button id="stop" onClick={() => stream.stop()}>Stop</button>
      <button id="yes" onClick={() => answer("yes")}>Yes</button>
      {children}
    </main>
  );
}

export const show = (Page) => createRoot(document.body.appendChild(document.createElement("div"))).render(<Page />);
