/* JSON Schema as far as a form and its checks need it. The schema is a stranger's: everything here is bounded, and what
   is not understood is left to the server. */

import { jsonOf } from "./dom.js";

const MAX_STEPS = 8;
const MAX_PROBLEMS = 50;
const MAX_ITEMS = 1000;
const MAX_OPTIONS = 20;
const MAX_CHECKED = 2000;
// Alternatives within alternatives multiply.
const MAX_STEPS_OF_A_CHECK = 20_000;

export const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const has = (object, key) => isObject(object) && Object.hasOwn(object, key);
const own = (object, key) => (has(object, key) ? object[key] : undefined);
export const same = (one, other) => jsonOf(one) === jsonOf(other);

/* The schema with its reference and its `allOf` put in. */
export function resolve(schema, root) {
  let found = schema;
  for (let step = 0; step < MAX_STEPS && typeof own(found, "$ref") === "string"; step++) {
    const { $ref, ...beside } = found;
    found = { ...at($ref, root), ...beside };
  }
  if (!isObject(found)) return {};
  const all = own(found, "allOf");
  if (!Array.isArray(all)) return found;
  const { allOf, ...rest } = found;
  return all.slice(0, MAX_OPTIONS).reduce((joined, part) => join(joined, plain(part, root)), rest);
}

function plain(part, root) {
  const { allOf, ...rest } = typeof own(part, "$ref") === "string" ? at(part.$ref, root) : isObject(part) ? part : {};
  return rest;
}

function join(one, other) {
  const joined = { ...one, ...other };
  if (isObject(one.properties) && isObject(other.properties)) joined.properties = { ...one.properties, ...other.properties };
  if (Array.isArray(one.required) && Array.isArray(other.required)) joined.required = [...one.required, ...other.required];
  return joined;
}

function at(reference, root) {
  if (!reference.startsWith("#/") || reference.length > 1000) return {};
  let found = root;
  for (const step of reference.slice(2).split("/")) found = own(found, step.replaceAll("~1", "/").replaceAll("~0", "~"));
  return isObject(found) && found !== root ? found : {};
}

export function alternatives(schema) {
  const given = Array.isArray(own(schema, "oneOf")) ? schema.oneOf : own(schema, "anyOf");
  if (Array.isArray(given) && given.length) {
    const { oneOf, anyOf, ...beside } = schema;
    delete beside.default;
    return given.slice(0, MAX_OPTIONS).map((option) => (isObject(option) ? { ...beside, ...option } : {}));
  }
  const types = own(schema, "type");
  return Array.isArray(types) ? types.slice(0, MAX_OPTIONS).map((type) => ({ ...schema, type })) : [];
}

export function kindOf(schema) {
  if (has(schema, "const")) return "const";
  if (Array.isArray(own(schema, "enum")) && schema.enum.length <= 1000) return "enum";
  if (alternatives(schema).length) return "alternatives";
  const type = own(schema, "type");
  if (type === "object" || (type === undefined && isObject(own(schema, "properties")))) return isObject(own(schema, "properties")) ? "object" : "json";
  if (type === "array") return isObject(own(schema, "items")) && !Array.isArray(own(schema, "prefixItems")) ? "array" : "json";
  return ["string", "number", "integer", "boolean", "null"].includes(type) ? type : "json";
}

const WORDS = { string: "text", integer: "whole number", boolean: "yes or no", array: "list", null: "nothing", json: "JSON", alternatives: "one of several", enum: "one of", const: "always" };

export function words(schema) {
  const kind = kindOf(schema);
  const format = own(schema, "format");
  return (WORDS[kind] ?? kind) + (kind === "string" && typeof format === "string" ? ` (${format.slice(0, 40)})` : "");
}

export const requiredOf = (schema) => (Array.isArray(own(schema, "required")) ? schema.required : []);
export const propertiesOf = (schema) => (isObject(own(schema, "properties")) ? Object.entries(schema.properties) : []);

/* `place.tags[0]`: how a problem names its field. */
export function nameOf(path) {
  const name = path.map((step, index) => (typeof step === "number" ? `[${step}]` : (index ? "." : "") + step)).join("");
  return name.length > 120 ? `${name.slice(0, 120)}…` : name || "This";
}

const FORMATS = {
  email: [/^[^\s@]+@[^\s@]+$/, "an e-mail address"],
  uri: [/^[a-z][a-z0-9+.-]*:\S+$/i, "an address such as https://example.com"],
  date: [/^\d{4}-\d{2}-\d{2}$/, "a date such as 2026-05-14"],
  "date-time": [/^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/, "a time such as 2026-05-14T09:30:00Z"],
};

/* Return [{path, message}] of what is plainly wrong with a value. */
export function problemsOf(value, schema, root = schema) {
  left = MAX_STEPS_OF_A_CHECK;
  try {
    return check(value, schema, root, [], [], 0);
  } catch {
    return []; // A limit that is no limit: whether the value is right is for the server to say.
  }
}

let left = 0;

function check(value, schema, root, path, found, depth) {
  const given = resolve(schema, root);
  const say = (text, where = path) => { if (found.length < MAX_PROBLEMS) found.push({ path: where, message: `${nameOf(where)} ${text}` }); };
  if (depth > 12 || left-- <= 0) return found;
  if (has(given, "const") && !same(value, given.const)) return say(`must be ${shown(given.const)}.`), found;
  if (Array.isArray(own(given, "enum")) && !given.enum.some((each) => same(each, value))) return say("must be one of the choices."), found;
  const options = alternatives(given);
  if (options.length) return ofOptions(value, options, root, path, found, depth), found;
  const type = own(given, "type");
  if (typeof type === "string" && !isOf(type, value)) return say(`must be ${mustBe(type)}.`), found;
  if (typeof value === "string") ofText(value, given, say);
  else if (typeof value === "number") ofNumber(value, given, say);
  else if (Array.isArray(value)) {
    if (value.length < own(given, "minItems")) say(`needs at least ${given.minItems} items.`);
    if (value.length > own(given, "maxItems")) say(`takes at most ${given.maxItems} items.`);
    if (isObject(own(given, "items"))) value.slice(0, MAX_ITEMS).forEach((item, index) => check(item, given.items, root, [...path, index], found, depth + 1));
  } else if (isObject(value)) {
    for (const name of requiredOf(given).slice(0, MAX_ITEMS)) if (typeof name === "string" && !has(value, name)) say("is required.", [...path, name]);
    for (const [name, below] of Object.entries(value).slice(0, MAX_ITEMS)) {
      const property = own(own(given, "properties"), name);
      if (property !== undefined) check(below, property, root, [...path, name], found, depth + 1);
      else if (own(given, "additionalProperties") === false && !has(given, "patternProperties")) say("is not a name that it takes.", [...path, name]);
    }
  }
  return found;
}

function ofOptions(value, options, root, path, found, depth) {
  let best = null;
  for (const option of options) {
    const problems = check(value, option, root, path, [], depth + 1);
    if (!problems.length) return;
    const isDeeper = problems.every((each) => each.path.length > path.length);
    if (!best || (isDeeper && !best.isDeeper) || (isDeeper === best.isDeeper && problems.length < best.problems.length)) best = { problems, isDeeper };
  }
  found.push(...best.problems.slice(0, MAX_PROBLEMS));
}

function isOf(type, value) {
  switch (type) {
    case "string": case "boolean": return typeof value === type;
    case "number": return typeof value === "number";
    case "integer": return Number.isInteger(value);
    case "null": return value === null;
    case "array": return Array.isArray(value);
    case "object": return isObject(value);
    default: return true;
  }
}

const mustBe = (type) => ({ string: "text", number: "a number", integer: "a whole number", boolean: "yes or no", null: "null", array: "a list", object: "an object" })[type];

function ofText(text, schema, say) {
  if (text.length < own(schema, "minLength")) say(`needs at least ${schema.minLength} characters.`);
  if (text.length > own(schema, "maxLength")) say(`takes at most ${schema.maxLength} characters.`);
  const [expected, example] = own(FORMATS, own(schema, "format")) ?? [];
  if (expected && text.length <= MAX_CHECKED && !expected.test(text)) say(`must be ${example}.`);
  const pattern = own(schema, "pattern");
  if (typeof pattern === "string" && text.length <= MAX_CHECKED && compiled(pattern)?.test(text) === false) say(`must match ${pattern.slice(0, 100)}.`);
}

/* A stranger's pattern can take for ever. Only those that plainly cannot are run; the others are for the server. */
export function compiled(pattern) {
  const repeats = pattern.match(/[*+]|\{\d*,\d*\}/g) ?? [];
  if (pattern.length > 200 || repeats.length > 2 || /\)[*+{]|\\[1-9k]|\(\?[^:]/.test(pattern)) return null;
  try {
    return new RegExp(pattern, "u");
  } catch {
    return null;
  }
}

function ofNumber(number, schema, say) {
  if (Number.isInteger(number) && !Number.isSafeInteger(number)) say("is too large to be sent exactly.");
  if (number < own(schema, "minimum")) say(`must be at least ${schema.minimum}.`);
  if (number > own(schema, "maximum")) say(`must be at most ${schema.maximum}.`);
  if (number <= own(schema, "exclusiveMinimum")) say(`must be more than ${schema.exclusiveMinimum}.`);
  if (number >= own(schema, "exclusiveMaximum")) say(`must be less than ${schema.exclusiveMaximum}.`);
  const step = own(schema, "multipleOf");
  if (step > 0 && Math.abs(number / step - Math.round(number / step)) > 1e-9) say(`must be a multiple of ${step}.`);
}

export function shown(value) {
  const text = typeof value === "string" ? value : jsonOf(value);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

/* The arguments that a schema wants repeated in headers (MCP 2026-07-28, `x-mcp-header`). */
export function repeatedIn(schema, value, found = {}, depth = 0) {
  for (const [name, property] of propertiesOf(schema)) {
    const given = own(value, name);
    const header = own(property, "x-mcp-header");
    if (given === undefined || given === null) continue;
    if (typeof header === "string" && /^[\w!#$%&'*+.^`|~-]{1,100}$/.test(header) && !isObject(given) && !Array.isArray(given)) found[`Mcp-Param-${header}`] = String(given);
    else if (isObject(given) && depth < MAX_STEPS) repeatedIn(property, given, found, depth + 1);
  }
  return found;
}
