// Asking the server: JSON, and the stream of what changes. A token is kept for as long as the tab is open.

const BASE = "api/";
const KEY = "palaestra-token";

export class Refused extends Error {
  constructor(status, error) {
    super(error.message || `the server answered ${status}`);
    this.status = status;
    this.hint = error.hint || "";
  }
}

export const setToken = (token) => sessionStorage.setItem(KEY, token);

function headers() {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function open(path, parameters, signal) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  let reply;
  try {
    reply = await fetch(`${BASE}${path}?${query}`, { headers: headers(), signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { message: "The dashboard's server does not answer.", hint: "It was stopped, or the connection broke." });
  }
  if (!reply.ok) {
    const body = await reply.json().catch(() => ({}));
    throw new Refused(reply.status, body.error || {});
  }
  return reply;
}

export async function get(path, parameters = {}, signal = undefined) {
  return (await open(path, parameters, signal)).json();
}

/** Follow the events until `signal` says so: `on[event](data)`; `on.link(up, why)` tells how the connection is. */
export async function follow(parameters, on, signal) {
  let wait = 1000;
  while (!signal.aborted) {
    try {
      const reply = await open("live", parameters, signal);
      on.link(true);
      wait = 1000;
      await events(reply.body.getReader(), on);
      on.link(false, "The server ended the connection; connecting again.");
    } catch (error) {
      if (error.name === "AbortError" || signal.aborted) return;
      if (error instanceof Refused && error.status === 401) return on.refused(error);
      on.link(false, error instanceof Refused ? error.message : "The connection broke; connecting again.");
    }
    await new Promise((resolve) => {
      setTimeout(resolve, wait);
      signal.addEventListener("abort", resolve, { once: true });
    });
    wait = Math.min(wait * 2, 15000);
  }
}

async function events(reader, on) {
  const decoder = new TextDecoder();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    buffer += decoder.decode(value, { stream: true });
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) {
      const name = /^event: (.*)$/m.exec(block);
      const data = /^data: (.*)$/m.exec(block);
      if (name && data && on[name[1]]) on[name[1]](JSON.parse(data[1]));
    }
  }
}
