// Talking to the server: JSON, one stream of events for the whole page, and the stream of one answer.

/** JSON from a path. Throws an Error whose message is the server's own sentence. */
export async function json(path, options) {
  const reply = await reached(path, options);
  return reply.json();
}

async function reached(path, options) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached. Is Longwatch still running?");
  }
  if (reply.ok) return reply;
  const told = await reply.json().catch(() => ({}));
  throw new Error(told.detail ?? `The server answered with status ${reply.status}.`);
}

/** Server-sent events out of a fetch: yields {name, data} with data parsed. */
async function* events(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      const lines = part.split("\n").filter((line) => !line.startsWith(":"));
      const field = (name) => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
      const data = field("data").join("\n");
      if (data) yield { name: field("event")[0] ?? "message", data: JSON.parse(data) };
    }
  }
}

/** Ask a camera; yields `piece`, then `answer` or `error` events. */
export async function* ask(camera, body, signal) {
  const reply = await reached(`/api/v1/cameras/${encodeURIComponent(camera)}/ask`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
    body: JSON.stringify(body),
    signal,
  });
  yield* events(reply);
}

/** Everything that happens, until the page goes. `on` maps kinds to handlers; the link's state goes to `linked`. */
export function listen(on, linked) {
  let wait_ms = 1000;
  let source = null;
  const open = () => {
    source = new EventSource("/api/v1/events/stream");
    source.onopen = () => {
      wait_ms = 1000;
      linked("connected");
    };
    source.onerror = () => {
      linked("lost");
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself, with its last id
      setTimeout(open, wait_ms * (0.75 + Math.random() / 2));
      wait_ms = Math.min(wait_ms * 2, 30000);
    };
    for (const [kind, handle] of Object.entries(on)) {
      source.addEventListener(kind, (message) => handle(JSON.parse(message.data)));
    }
  };
  open();
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (shown) => shown.persisted && open());
}
