/* A form from a JSON Schema. Every control reads and writes a JSON value; undefined is "left out". */

import { cut, el, jsonOf, nextId } from "./dom.js";
import { alternatives, isObject, kindOf, nameOf, problemsOf, propertiesOf, requiredOf, resolve, same, shown, words } from "./schema.js";

const MAX_DEPTH = 8;
const MAX_PROPERTIES = 100;
const MAX_ITEMS = 200;
// A schema that refers to itself would make ever more of them; from then on it is JSON.
const MAX_CONTROLS = 400;
const INPUTS = { date: "date", email: "email", uri: "url", password: "password" };

/* The control of a whole tool: `read(problems)`, `write(value)`, `mark(problems)`. */
export function formOf(schema) {
  const root = isObject(schema) ? schema : {};
  left = MAX_CONTROLS;
  const top = objectControl(resolve(root, root), { root, name: "", depth: 0, required: true });
  top.write(undefined);
  return {
    element: top.element,
    read: (problems) => top.read(problems, []) ?? {},
    write: (value) => top.write(value),
    mark(problems) {
      top.clear();
      const marked = problems.map(({ path, message }) => top.mark(path, message)).filter(Boolean);
      return marked.sort((one, other) => (one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1))[0];
    },
  };
}

let left = 0;

function control(given, options) {
  const schema = resolve(given, options.root);
  let kind = kindOf(schema);
  const isLarge = ["object", "array", "alternatives"].includes(kindOf(onlyValue(schema, options.root) ?? schema));
  if (isLarge && !options.required && !options.isPart && (options.depth > 1 || left <= 0)) return onDemand(schema, options);
  if (isLarge && (options.depth > MAX_DEPTH || left <= 0)) kind = "json";
  left--;
  const make = { const: enumControl, enum: enumControl, boolean: booleanControl, string: textControl, number: numberControl, integer: numberControl, object: objectControl, array: arrayControl, alternatives: alternativesControl, null: nullControl }[kind];
  const made = (make ?? jsonControl)(schema, options);
  if (Object.hasOwn(schema, "default") && schema.default !== null) made.write(schema.default);
  else if (Object.hasOwn(schema, "const") && options.required) made.write(schema.const);
  return made;
}

/* An input with its label, what its author says of it, and room for what is wrong with it. */
function field(input, schema, { name, required, isPart }, { read, write, kind = words(schema) }) {
  const id = (input.id = nextId("arg"));
  const problem = el("p", { class: "problem", id: `${id}-problem`, hidden: true });
  const said = typeof schema.description === "string" ? schema.description : typeof schema.title === "string" ? schema.title : "";
  const hint = said && el("p", { class: "hint", id: `${id}-hint` }, cut(said, 1000));
  input.setAttribute("aria-describedby", `${id}-problem${hint ? ` ${id}-hint` : ""}`);
  if (required) input.setAttribute("aria-required", "true");
  const label = el("label", { for: id }, el("code", {}, cut(name, 120)), " ", el("span", { class: "kind" }, kind, required && !isPart && el("span", { class: "needed" }, " required")));
  const clear = () => { problem.hidden = true; problem.textContent = ""; input.removeAttribute("aria-invalid"); };
  return {
    element: el("div", { class: "field" }, label, input, problem, hint),
    read,
    write,
    clear,
    mark(path, message) {
      problem.textContent = cut(message, 500);
      problem.hidden = false;
      input.setAttribute("aria-invalid", "true");
      return input;
    },
    set label(text) { label.querySelector("code").textContent = text; },
  };
}

function textControl(schema, options) {
  const type = Object.hasOwn(INPUTS, schema.format) ? INPUTS[schema.format] : undefined;
  const isLong = !type && !(typeof schema.maxLength === "number" && schema.maxLength <= 60) && schema.format !== "date-time";
  const input = isLong ? el("textarea", { rows: 1 }) : el("input", { type: type ?? "text", autocomplete: "off" });
  if (schema.format === "date-time") input.placeholder = "2026-05-14T09:30:00Z";
  input.spellcheck = false;
  let wasEmpty = false;
  input.addEventListener("input", () => { wasEmpty = false; });
  return field(input, schema, options, {
    read: () => (input.value === "" ? (wasEmpty ? "" : undefined) : input.value),
    write(value) {
      input.value = value === undefined ? "" : typeof value === "string" ? value : shown(value);
      wasEmpty = value === "";
    },
  });
}

function numberControl(schema, options) {
  const input = el("input", { type: "text", inputmode: "decimal", autocomplete: "off" });
  return field(input, schema, options, {
    read() {
      const text = input.value.trim();
      const number = Number(text);
      return text === "" ? undefined : Number.isFinite(number) && /^[-+.\deE]+$/.test(text) ? number : text;
    },
    write(value) { input.value = value === undefined ? "" : typeof value === "string" ? value : jsonOf(value); },
  });
}

function booleanControl(schema, options) {
  if (options.required) {
    const box = el("input", { type: "checkbox" });
    const made = field(box, schema, { ...options, required: false }, { read: () => box.checked, write(value) { box.checked = value === true; } });
    made.element.classList.add("checked");
    return made;
  }
  return choice([true, false], ["Yes", "No"], schema, options);
}

function enumControl(schema, options) {
  const values = Object.hasOwn(schema, "const") ? [schema.const] : schema.enum;
  return choice(values, values.map((value) => (value === "" ? "(empty text)" : shown(value))), schema, options);
}

function choice(values, labels, schema, options) {
  const select = el("select", {}, el("option", { value: "" }, options.required ? "Choose" : "Left out"));
  values.forEach((_, index) => select.append(el("option", { value: index }, cut(labels[index], 200))));
  let other;
  return field(select, schema, options, {
    read: () => (select.value === "" ? other : values[Number(select.value)]),
    write(value) {
      const index = values.findIndex((each) => same(each, value));
      select.value = index < 0 ? "" : String(index);
      other = index < 0 ? value : undefined;
      select.onchange = () => { other = undefined; };
    },
  });
}

/* What may be left out, deep in the form, is not there before it is asked for. */
function onDemand(schema, options) {
  const { name } = options;
  const add = el("button", { type: "button", class: "button", onclick: () => { build(); element.querySelector("input, select, textarea, legend")?.focus(); } }, `Add ${cut(name, 60)}`);
  const element = el("div", {}, add);
  let made = null;
  function build() {
    left = Math.max(left, 50);
    made = control(schema, { ...options, isPart: true });
    element.replaceChildren(made.element);
  }
  return {
    element,
    set label(text) { if (made) made.label = text; },
    read: (problems, path) => made?.read(problems, path),
    write(value) {
      if (value !== undefined && !made) build();
      made?.write(value);
    },
    clear: () => made?.clear(),
    mark: (path, message) => (made ? made.mark(path, message) : add),
  };
}

function nullControl(schema, options) {
  return choice([null], ["null"], schema, options);
}

function jsonControl(schema, options) {
  const input = el("textarea", { rows: 3, class: "mono", placeholder: "JSON" });
  input.spellcheck = false;
  return field(input, schema, options, {
    read(problems, path) {
      if (input.value.trim() === "") return undefined;
      try {
        return JSON.parse(input.value);
      } catch {
        problems.push({ path, message: `${nameOf(path)} must be JSON.` });
        return undefined;
      }
    },
    write(value) { input.value = value === undefined ? "" : jsonOf(value, 2); },
    kind: kindOf(schema) === "json" ? "JSON" : `${words(schema)}, as JSON`,
  });
}

/* A group of controls in a frame of its own; the whole form has none. */
function frame(schema, { name, required, depth, isPart }, kind) {
  if (!depth) return { element: el("div", { class: "fields" }), clear() {}, mark: () => null };
  const problem = el("p", { class: "problem", hidden: true });
  const said = typeof schema.description === "string" ? schema.description : "";
  const legend = el("legend", { tabindex: -1 }, el("code", {}, cut(name, 120)), " ", el("span", { class: "kind" }, kind, required && !isPart && el("span", { class: "needed" }, " required")));
  const element = el("fieldset", { class: "fields" }, legend, said && el("p", { class: "hint" }, cut(said, 1000)), problem);
  return {
    element,
    set label(text) { legend.querySelector("code").textContent = text; },
    clear() { problem.hidden = true; },
    mark(message) {
      problem.textContent = cut(message, 500);
      problem.hidden = false;
      return legend;
    },
  };
}

function objectControl(schema, options) {
  const { root, depth, required } = options;
  const shell = frame(schema, options, "object");
  const needed = new Set(requiredOf(schema));
  const children = new Map();
  for (const [name, given] of propertiesOf(schema).slice(0, MAX_PROPERTIES)) {
    const child = control(given, { root, name, depth: depth + 1, required: needed.has(name) });
    children.set(name, child);
    shell.element.append(child.element);
  }
  const more = schema.additionalProperties;
  const isOpen = more === true || isObject(more) || (!children.size && more !== false) || propertiesOf(schema).length > MAX_PROPERTIES;
  const rest = jsonControl({ type: "object" }, { name: depth ? "Further properties" : "Further arguments", required: false });
  rest.element.hidden = !isOpen;
  shell.element.append(rest.element);
  if (!children.size && !isOpen && !depth) shell.element.prepend(el("p", { class: "small muted" }, "It takes nothing."));
  let isWritten = false;
  return {
    element: shell.element,
    set label(text) { shell.label = text; },
    read(problems, path) {
      const entries = [...children].map(([name, child]) => [name, child.read(problems, [...path, name])]).filter(([, value]) => value !== undefined);
      const others = rest.read(problems, path);
      if (others !== undefined && !isObject(others)) problems.push({ path: [...path, null], message: `${nameOf(path)} must be a JSON object.` });
      const all = [...(isObject(others) ? Object.entries(others) : []), ...entries];
      return all.length || required || isWritten ? Object.fromEntries(all) : undefined;
    },
    write(value) {
      isWritten = isObject(value);
      if (value === undefined && !depth) return;
      const given = isObject(value) ? value : {};
      for (const [name, child] of children) child.write(Object.hasOwn(given, name) ? given[name] : undefined);
      const others = Object.entries(given).filter(([name]) => !children.has(name));
      rest.element.hidden = !isOpen && !others.length;
      rest.write(others.length ? Object.fromEntries(others) : undefined);
    },
    clear() {
      shell.clear();
      rest.clear();
      for (const child of children.values()) child.clear();
    },
    mark(path, message) {
      if (!path.length) return shell.mark(message);
      const child = children.get(path[0]);
      if (child) return child.mark(path.slice(1), message);
      rest.element.hidden = false;
      return rest.mark([], message);
    },
  };
}

function arrayControl(schema, options) {
  const { root, depth, required, name } = options;
  const shell = frame(schema, options, words(schema));
  const list = el("div", { class: "items" });
  const add = el("button", { type: "button", class: "button", onclick: () => grow().querySelector("input, select, textarea")?.focus() }, "Add", el("span", { class: "visually-hidden" }, ` to ${cut(name, 60)}`));
  shell.element.append(list, add);
  let items = [];
  let isWritten = false;
  const empty = { string: "", object: {}, array: [] }[kindOf(resolve(schema.items, root))];
  function grow(value) {
    left = Math.max(left, 50);
    const item = control(schema.items, { root, name: `Item ${items.length + 1}`, depth: depth + 1, required: false });
    if (value !== undefined) item.write(value);
    const remove = el("button", { type: "button", class: "button", onclick: () => {
      items = items.filter((each) => each !== item);
      row.remove();
      items.forEach((each, index) => { each.label = `Item ${index + 1}`; });
      add.focus();
    } }, "Remove", el("span", { class: "visually-hidden" }, ` from ${cut(name, 60)}`));
    const row = el("div", { class: "item" }, item.element, remove);
    items.push(item);
    list.append(row);
    add.hidden = items.length >= MAX_ITEMS;
    return row;
  }
  return {
    element: shell.element,
    set label(text) { shell.label = text; },
    read(problems, path) {
      const values = items.map((item, index) => item.read(problems, [...path, index]));
      return values.length || required || isWritten ? values.map((value) => (value === undefined ? empty ?? null : value)) : undefined;
    },
    write(value) {
      isWritten = Array.isArray(value);
      items = [];
      list.replaceChildren();
      add.hidden = false;
      for (const each of isWritten ? value.slice(0, MAX_ITEMS) : []) grow(each);
    },
    clear() {
      shell.clear();
      for (const item of items) item.clear();
    },
    mark: (path, message) => (path.length && items[path[0]] ? items[path[0]].mark(path.slice(1), message) : shell.mark(message)),
  };
}

function alternativesControl(schema, options) {
  const { root, depth, required, name } = options;
  const only = onlyValue(schema, root);
  if (only) return nullable(only, schema, options);
  const every = alternatives(schema).map((option) => resolve(option, root));
  const select = el("select", { onchange: () => { turn(select.value); } }, el("option", { value: "" }, required ? "Choose" : "Left out"));
  every.forEach((option, index) => select.append(el("option", { value: index }, cut(option.title || words(option), 100))));
  const head = field(select, schema, options, { read: () => undefined, write() {}, kind: "one of several" });
  const below = el("div", { class: "alternative" });
  const element = el("div", { class: "fields" }, head.element, below);
  let now = null;
  function turn(index) {
    select.value = index;
    left = Math.max(left, 50);
    now = index === "" ? null : control(every[index], { root, name: every[index].title || words(every[index]), depth: depth + 1, required: true, isPart: true });
    below.replaceChildren(...(now ? [now.element] : []));
  }
  return {
    element,
    set label(text) { head.label = text; },
    read: (problems, path) => now?.read(problems, path),
    write(value) {
      if (value === undefined) return turn("");
      const fit = every.findIndex((option) => !problemsOf(value, option, root).length);
      turn(String(Math.max(0, fit)));
      now.write(value);
    },
    clear() {
      head.clear();
      now?.clear();
    },
    mark: (path, message) => (now ? now.mark(path, message) : head.mark(path, message)),
  };
}

/* Of "a value or null" the value's schema; null where there are other alternatives. */
function onlyValue(schema, root) {
  const every = kindOf(schema) === "alternatives" ? alternatives(schema).map((option) => resolve(option, root)) : [];
  const others = every.filter((option) => kindOf(option) !== "null");
  return others.length === 1 && every.length > 1 ? others[0] : null;
}

/* A value or null, as most say "may be left out": the input of the value, which keeps a null that was written. */
function nullable(only, schema, options) {
  const made = control({ ...only, title: only.title ?? schema.title, description: only.description ?? schema.description }, { ...options, depth: options.depth + 1 });
  let wasNull = false;
  const { read, write } = made;
  made.read = (problems, path) => read(problems, path) ?? (wasNull || options.required ? null : undefined);
  made.write = (value) => {
    wasNull = value === null;
    write(value === null ? undefined : value);
  };
  return made;
}
