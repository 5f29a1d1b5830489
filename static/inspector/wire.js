/* JSON-RPC with the gateway, by the path that agents take: MCP 2026-07-28, where each request stands alone. */

export const VERSION = "2026-07-28";
const META = "io.modelcontextprotocol/";
export const CAPABILITIES = `${META}clientCapabilities`;
const NAMED = { "tools/call": "name", "prompts/get": "name", "resources/read": "uri" };
const MOST_BYTES = 32e6;
const MOST_KEPT = 500;

export class TooLarge extends Error {}

let last = 0;

export function messageOf(method, params, { progress = false } = {}) {
  const id = ++last;
  const meta = {
    [`${META}protocolVersion`]: VERSION,
    [`${META}clientInfo`]: { name: "aigateway-inspector", version: "1" },
    [CAPABILITIES]: { elicitation: { url: {} } },
    ...(progress ? { progressToken: `progress-${id}` } : {}),
  };
  return { jsonrpc: "2.0", id, method, params: { ...params, _meta: meta } };
}

/* What the request repeats in its headers, so that a proxy can route it. */
export function headersOf(message, repeated = {}) {
  const fields = {
    "Content-Type": "application/json",
    Accept: "application/json, text/event-stream",
    "MCP-Protocol-Version": VERSION,
    "Mcp-Method": message.method,
  };
  if (NAMED[message.method]) fields["Mcp-Name"] = carried(message.params[NAMED[message.method]]);
  for (const [name, value] of Object.entries(repeated)) fields[name] = carried(value);
  return fields;
}

function carried(value) {
  const text = String(value);
  if (/^[\x20-\x7e]*$/.test(text) && text === text.trim() && !/^=\?base64\?.*\?=$/.test(text)) return text;
  const bytes = new TextEncoder().encode(text);
  return `=?base64?${btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))}?=`;
}

/* Send one request; `heard` is told of each message that comes before its response. Never throws for an answer. */
export async function send(address, csrf, message, { headers, signal, heard = () => {} }) {
  const began = performance.now();
  const seen = { status: 0, response: null, received: [], more: 0, bytes: 0, first: 0, took: 0, refusal: "" };
  const answer = await fetch(address, {
    method: "POST",
    headers: { ...headers, "X-CSRFToken": csrf },
    body: JSON.stringify(message),
    credentials: "same-origin",
    redirect: "error",
    cache: "no-store",
    signal,
  });
  seen.status = answer.status;
  const take = (text) => {
    let said;
    try {
      said = JSON.parse(text);
    } catch {
      return;
    }
    if (seen.received.length < MOST_KEPT) seen.received.push(said);
    else seen.more++;
    if (said?.jsonrpc === "2.0" && said.method === undefined) seen.response = said;
    else heard(said);
  };
  const isStream = (answer.headers.get("Content-Type") ?? "").startsWith("text/event-stream");
  const text = await read(answer, seen, began, isStream ? take : null);
  if (!isStream) take(text);
  seen.took = performance.now() - began;
  if (!seen.response) {
    const error = seen.received.at(-1)?.errors?.[0];
    seen.refusal = typeof error?.detail === "string" ? error.detail : "The MCP server gave no answer to this request.";
  }
  return seen;
}

async function read(answer, seen, began, take) {
  const decoder = new TextDecoder();
  const pieces = [];
  const events = take && new Events(take);
  for (const reader = answer.body?.getReader(); reader; ) {
    const { done, value } = await reader.read();
    if (done) break;
    seen.first ||= performance.now() - began;
    seen.bytes += value.byteLength;
    if (seen.bytes > MOST_BYTES) {
      await reader.cancel();
      throw new TooLarge();
    }
    const text = decoder.decode(value, { stream: true });
    if (events) events.feed(text);
    else pieces.push(text);
  }
  events?.feed("\n\n");
  return pieces.join("");
}

/* Server-sent events, wherever the stream was cut: hands over the data of each whole one. */
class Events {
  constructor(take) {
    this.take = take;
    this.kept = this.carried = "";
  }

  feed(text) {
    const all = this.carried + text;
    this.carried = all.endsWith("\r") ? "\r" : "";
    let from = Math.max(0, this.kept.length - 1);
    this.kept += all.slice(0, all.length - this.carried.length).replaceAll("\r\n", "\n");
    let start = 0;
    for (let end; (end = this.kept.indexOf("\n\n", from)) >= 0; start = from = end + 2) {
      const lines = this.kept.slice(start, end).split("\n").filter((line) => line.startsWith("data:"));
      if (lines.length) this.take(lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n"));
    }
    this.kept = this.kept.slice(start);
  }
}
