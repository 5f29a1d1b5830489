/* What a server offers, as things that can be called: tools, prompts, resources and templates of resources. */

import { isObject, repeatedIn } from "./schema.js";

const MOST_PAGES = 20;
const MOST_OFFERED = 5000;
const LISTS = [
  ["tools", "tools/list", "tools", toolOf],
  ["prompts", "prompts/list", "prompts", promptOf],
  ["resources", "resources/list", "resources", resourceOf],
  ["resources", "resources/templates/list", "resourceTemplates", templateOf],
];
const text = (value) => (typeof value === "string" ? value : "");

export function toolOf(tool) {
  return {
    kind: "Tools",
    key: text(tool.name),
    title: text(tool.title) || text(tool.annotations?.title),
    description: text(tool.description),
    annotations: isObject(tool.annotations) ? tool.annotations : {},
    schema: isObject(tool.inputSchema) ? tool.inputSchema : {},
    gives: isObject(tool.outputSchema) ? tool.outputSchema : null,
    method: "tools/call",
    params: (given) => ({ name: tool.name, arguments: given }),
    repeated: (given) => repeatedIn(tool.inputSchema, given),
  };
}

function promptOf(prompt) {
  const listed = (Array.isArray(prompt.arguments) ? prompt.arguments : []).filter((each) => typeof each?.name === "string");
  const properties = Object.fromEntries(listed.map((each) => [each.name, { type: "string", description: text(each.description) }]));
  const required = listed.filter((each) => each.required === true).map((each) => each.name);
  return {
    kind: "Prompts",
    key: text(prompt.name),
    title: text(prompt.title),
    description: text(prompt.description),
    schema: { type: "object", properties, required, additionalProperties: false },
    method: "prompts/get",
    params: (given) => ({ name: prompt.name, arguments: given }),
  };
}

function resourceOf(resource) {
  return {
    kind: "Resources",
    key: text(resource.uri),
    title: text(resource.title) || text(resource.name),
    description: text(resource.description),
    schema: { type: "object", properties: {}, additionalProperties: false },
    method: "resources/read",
    params: () => ({ uri: resource.uri }),
  };
}

/* A template of RFC 6570; of its expressions the form takes the names, and the values go in percent-encoded. */
function templateOf(template) {
  const uri = text(template.uriTemplate).slice(0, 2000);
  const names = [...uri.matchAll(/\{[+#./;?&]?([^{}]{1,100})\}/g)].flatMap((each) => each[1].split(",")).map((name) => name.replace(/(\*|:\d+)$/, ""));
  return {
    ...resourceOf(template),
    key: uri,
    schema: { type: "object", properties: Object.fromEntries(names.map((name) => [name, { type: "string" }])), required: names, additionalProperties: false },
    params: (given) => ({ uri: uri.replace(/\{([+#./;?&]?)([^{}]{1,100})\}/g, (_, how, listed) => expanded(how, listed.split(","), given)) }),
  };
}

function expanded(how, names, given) {
  const [first, between] = { "+": ["", ","], "#": ["#", ","], ".": [".", "."], "/": ["/", "/"], ";": [";", ";"], "?": ["?", "&"], "&": ["&", "&"] }[how] ?? ["", ","];
  const encode = how === "+" || how === "#" ? encodeURI : encodeURIComponent;
  const parts = names.map((name) => name.replace(/(\*|:\d+)$/, "")).filter((name) => given[name] !== undefined).map((name) => `${";?&".includes(how) && how ? `${name}=` : ""}${encode(given[name])}`);
  return parts.length ? first + parts.join(between) : "";
}

/* Ask the server, as the person who looks. `ask(method, params)` returns a result, or null when there is none. */
export async function offersOf(ask) {
  const discovered = await ask("server/discover", {});
  const able = isObject(discovered?.capabilities) ? discovered.capabilities : { tools: {} };
  const found = [];
  for (const [capability, method, member, make] of LISTS) {
    if (!isObject(able[capability])) continue;
    const listed = await allOf(ask, method, member);
    if (listed === null && method === "tools/list") return null;
    found.push(...(listed ?? []).map(make).filter((each) => each.key));
  }
  return found;
}

async function allOf(ask, method, member) {
  const all = [];
  let cursor;
  for (let page = 0; page < MOST_PAGES && all.length < MOST_OFFERED; page++) {
    const result = await ask(method, cursor === undefined ? {} : { cursor });
    if (!Array.isArray(result?.[member])) return page ? all : null;
    all.push(...result[member].filter(isObject));
    cursor = result.nextCursor;
    if (typeof cursor !== "string") break;
  }
  return all.slice(0, MOST_OFFERED);
}
