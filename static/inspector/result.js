/* What came back, as a person reads it: texts, trees, tables, pictures. All of it is a stranger's and bounded. */

import { cut, el, jsonOf, sizeOf } from "./dom.js";
import { isObject } from "./schema.js";

const MOST_TEXT = 100_000;
const MOST_PARSED = 2_000_000;
const MOST_CHILDREN = 200;
const MOST_ROWS = 200;
const MOST_COLUMNS = 20;
const MOST_BLOCKS = 100;
const MOST_IMAGE = 8_000_000;
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const OPENED = 2;

/* The parts of a `tools/call`, `prompts/get` or `resources/read` result. */
export function partsOf(result) {
  if (!isObject(result)) return [treeOf(result)];
  const parts = [];
  if (result.structuredContent !== undefined) parts.push(valueOf(result.structuredContent));
  const blocks = [result.content, result.contents].find(Array.isArray) ?? [];
  for (const block of blocks.slice(0, MOST_BLOCKS)) {
    // The text of a structured result repeats it, for clients that know no structure.
    if (result.structuredContent !== undefined && block?.type === "text" && repeats(block.text, result.structuredContent)) continue;
    parts.push(blockOf(block));
  }
  if (blocks.length > MOST_BLOCKS) parts.push(el("p", { class: "tiny" }, `${blocks.length - MOST_BLOCKS} more parts are under Raw.`));
  for (const message of (Array.isArray(result.messages) ? result.messages : []).slice(0, MOST_BLOCKS)) {
    parts.push(el("p", { class: "tiny" }, cut(message?.role, 40)), blockOf(message?.content));
  }
  return parts.length ? parts : [el("p", { class: "small muted" }, "It answered with nothing.")];
}

function repeats(text, value) {
  try {
    return typeof text === "string" && text.length < MOST_PARSED && jsonOf(JSON.parse(text)) === jsonOf(value);
  } catch {
    return false;
  }
}

function blockOf(block) {
  if (!isObject(block)) return treeOf(block);
  const inner = isObject(block.resource) ? block.resource : block;
  const type = typeof inner.mimeType === "string" ? inner.mimeType.toLowerCase() : "";
  if (typeof inner.text === "string") return block === inner && block.type !== "text" && inner.uri === undefined ? treeOf(block) : named(inner, textOf(inner.text));
  const data = typeof inner.data === "string" ? inner.data : inner.blob;
  if (typeof data !== "string") return treeOf(block);
  return named(inner, PICTURES.has(type) && data.length <= MOST_IMAGE ? pictureOf(type, data) : note(`${cut(type, 80) || "Data"}, ${sizeOf(Math.floor(data.length * 0.75))}, is not shown here.`));
}

function named(block, shown) {
  return typeof block.uri === "string" ? el("div", {}, el("p", { class: "tiny" }, el("code", {}, cut(block.uri, 300))), shown) : shown;
}

/* Base64 of a kind that cannot hold script, in an image element, which would not run it. */
function pictureOf(type, data) {
  if (!/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(data)) return note("This picture is not whole.");
  const picture = el("img", { class: "picture", alt: "Picture from the server" });
  picture.addEventListener("error", () => picture.replaceWith(note("This picture cannot be shown.")));
  picture.src = `data:${type};base64,${data.replace(/\s/g, "")}`;
  return picture;
}

const note = (text) => el("p", { class: "small muted" }, text);

function textOf(text) {
  if (text.length < MOST_PARSED && /^\s*[[{]/.test(text)) {
    try {
      return valueOf(JSON.parse(text));
    } catch {
      // A text that only begins as JSON does.
    }
  }
  return preOf(text);
}

/* A text, cut where a page would become slow. */
export function preOf(text) {
  const pre = el("pre", { class: "shown", translate: "no", tabindex: 0 }, text.slice(0, MOST_TEXT));
  if (text.length <= MOST_TEXT) return pre;
  return el("div", {}, pre, el("p", { class: "tiny" }, `The first ${MOST_TEXT.toLocaleString("en")} of ${text.length.toLocaleString("en")} characters. Save the answer to see all.`));
}

function valueOf(value) {
  const keys = isObject(value) ? Object.keys(value) : [];
  const rows = keys.length === 1 && isTable(value[keys[0]]) ? value[keys[0]] : value;
  return isTable(rows) ? tableOf(rows) : treeOf(value);
}

const isTable = (value) => Array.isArray(value) && value.length > 0 && value.slice(0, MOST_ROWS).every((row) => isObject(row) && Object.keys(row).length > 0);

function tableOf(rows) {
  const columns = [];
  for (const row of rows.slice(0, MOST_ROWS)) for (const key of Object.keys(row)) if (columns.length < MOST_COLUMNS && !columns.includes(key)) columns.push(key);
  const head = el("tr", {}, ...columns.map((name) => el("th", { scope: "col" }, cut(name, 60))));
  const body = rows.slice(0, MOST_ROWS).map((row) => el("tr", {}, ...columns.map((name) => el("td", {}, Object.hasOwn(row, name) ? cellOf(row[name]) : ""))));
  const table = el("table", { class: "result" }, el("thead", {}, head), el("tbody", {}, ...body));
  const scroller = el("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": "Table" }, table);
  const more = rows.length > MOST_ROWS && el("p", { class: "tiny" }, `The first ${MOST_ROWS} of ${rows.length.toLocaleString("en")} rows.`);
  return el("div", {}, scroller, more);
}

function cellOf(value) {
  return cut(typeof value === "string" ? value : brief(value), 200);
}

function brief(value) {
  return value === null || typeof value !== "object" ? String(value) : jsonOf(value);
}

/* JSON as a tree; what is folded is made only when it is opened. */
export function treeOf(value) {
  return el("div", { class: "tree", translate: "no", tabindex: 0, role: "region", "aria-label": "JSON" }, branch("", value, 0));
}

function branch(name, value, depth) {
  const label = name === "" ? "" : el("span", { class: "key" }, `${cut(String(name), 120)}: `);
  if (value === null || typeof value !== "object") return el("div", { class: "leaf" }, label, leaf(value));
  const entries = Array.isArray(value) ? value : Object.keys(value);
  const size = Array.isArray(value) ? `[ ${value.length} ]` : `{ ${entries.length} }`;
  if (!entries.length) return el("div", { class: "leaf" }, label, Array.isArray(value) ? "[]" : "{}");
  const details = el("details", {}, el("summary", {}, label, el("span", { class: "muted" }, size)));
  let shown = 0;
  const grow = () => {
    details.querySelector(":scope > button")?.remove();
    const next = entries.slice(shown, shown + MOST_CHILDREN);
    next.forEach((each, index) => details.append(Array.isArray(value) ? branch(shown + index, each, depth + 1) : branch(each, value[each], depth + 1)));
    shown += next.length;
    if (shown < entries.length) details.append(el("button", { type: "button", class: "text-button", onclick: grow }, `Show more (${entries.length - shown})`));
  };
  details.addEventListener("toggle", () => { if (details.open && !shown) grow(); });
  if (depth < OPENED && entries.length <= 50) {
    grow();
    details.open = true;
  }
  return details;
}

function leaf(value) {
  if (typeof value !== "string") return el("span", { class: "value" }, String(value));
  return el("span", { class: "value text" }, JSON.stringify(cut(value, 2000)));
}
