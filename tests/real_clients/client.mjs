// A TypeScript client of MCP, driven by lines of JSON.
//
//   node client.mjs PACKAGE MODE DECLARED URL [BRIDGE ARGUMENT...]
//
// PACKAGE is sdk or client (both of @modelcontextprotocol), MODE legacy, auto or a revision to insist on, DECLARED what
// it says of itself: nothing, forms or links. The token comes in MCP_TOKEN. With a bridge, the client speaks stdio to
// that program, which speaks HTTP; without one it speaks HTTP itself. Asked to open a link it tells the link and
// answers with MCP_ANSWER, accept if there is none.
import { createInterface } from "node:readline";

const [packageName, mode, declared, url, ...bridge] = process.argv.slice(2);
const ELICITATION = { nothing: undefined, forms: {}, links: { url: {} } }[declared];

const ANSWER = { action: process.env.MCP_ANSWER ?? "accept" };

const say = (event) => process.stdout.write(JSON.stringify(event) + "\n");

async function load() {
  if (packageName === "client") {
    const { Client, StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
    const { StdioClientTransport } = await import("@modelcontextprotocol/client/stdio");
    const names = { question: "elicitation/create", settled: "notifications/elicitation/complete" };
    return { Client, StreamableHTTPClientTransport, StdioClientTransport, ...names };
  }
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const { StdioClientTransport } = await import("@modelcontextprotocol/sdk/client/stdio.js");
  const types = await import("@modelcontextprotocol/sdk/types.js");
  const names = { question: types.ElicitRequestSchema, settled: types.ElicitationCompleteNotificationSchema };
  return { Client, StreamableHTTPClientTransport, StdioClientTransport, ...names };
}

const sdk = await load();

function transport() {
  if (bridge.length) {
    return new sdk.StdioClientTransport({ command: bridge[0], args: bridge.slice(1), env: process.env });
  }
  const headers = { Authorization: `Bearer ${process.env.MCP_TOKEN}` };
  return new sdk.StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
}

const client = new sdk.Client(
  { name: "real-client", version: "1.0.0" },
  {
    capabilities: ELICITATION ? { elicitation: ELICITATION } : {},
    versionNegotiation: { mode: mode === "legacy" || mode === "auto" ? mode : { pin: mode } },
  },
);
if (ELICITATION) {
  client.setRequestHandler(sdk.question, async ({ params }) => {
    say({ event: "link", url: params.url, message: params.message });
    return ANSWER;
  });
  client.setNotificationHandler(sdk.settled, ({ params }) => say({ event: "settled", id: params.elicitationId }));
}

const DOING = {
  tools: async () => ({ event: "tools", names: (await client.listTools()).tools.map((tool) => tool.name) }),
  call: async ({ tool }) => {
    const result = await client.callTool({ name: tool, arguments: {} });
    const text = result.content.map((block) => block.text).join(" ");
    return { event: result.isError ? "tool error" : "result", text };
  },
};

async function run(command) {
  try {
    say(await DOING[command.do](command));
  } catch ({ code, message, data }) {
    say({ event: "error", code, message, data });
  }
}

const over = transport();
await client.connect(over);
say({ event: "connected", revision: client.getNegotiatedProtocolVersion?.() ?? over.protocolVersion });
for await (const line of createInterface({ input: process.stdin })) {
  run(JSON.parse(line));
}
await client.close();
