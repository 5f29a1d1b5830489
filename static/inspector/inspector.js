/* The inspector: choose what the server offers, fill in its form, call it as oneself by the path that agents take.
   Without this module the page does the same by a form and a POST. */

import { curlOf } from "./curl.js";
import { cut, el, jsonOf, sizeOf, tabs, timeOf } from "./dom.js";
import { formOf } from "./form.js";
import { offersOf, toolOf } from "./offers.js";
import { isObject, problemsOf, same } from "./schema.js";
import { TooLarge, headersOf, messageOf, send } from "./wire.js";

const MOST_LISTED = 300;
const MOST_ROUNDS = 12;
const SAY_EVERY = 2000;
const CLAIMS = [["readOnlyHint", true, "Only reads"], ["readOnlyHint", false, "May change things"], ["destructiveHint", true, "May delete or overwrite"], ["idempotentHint", true, "Safe to repeat"]];

const page = document.querySelector(".inspector");
const { server, address, csrf } = page.dataset;
const bringsToken = "bringsToken" in page.dataset;
const endpoint = new URL(address).pathname;
const bench = page.querySelector(".bench");
const sidebar = page.querySelector(".offers");
const live = el("p", { class: "visually-hidden", role: "status" });
page.append(live);

// What is needed only once something was called.
const later = {};
const loadLater = async () => Object.assign(later, ...(await Promise.all([import("./consent.js"), import("./result.js")])));

let offers = [];
let chosen = null;
let running = null;
const typed = new Map();

// --- What is offered

async function ask(method, params) {
  const message = messageOf(method, params);
  try {
    const seen = await send(endpoint, csrf, message, { headers: { ...headersOf(message), ...ownCredential() } });
    return isObject(seen.response?.result) ? seen.response.result : null;
  } catch {
    return null;
  }
}

async function load() {
  const found = await offersOf(ask);
  if (!found) return;
  offers = found;
  list();
  const again = chosen && offers.find((each) => each.kind === chosen.target.kind && each.key === chosen.target.key);
  if (again && !running && !chosen.outcome.childElementCount && !same(again.schema, chosen.target.schema)) choose(again);
  else if (again) chosen.target = again;
  mark();
}

function list() {
  const filter = el("input", { id: "q", type: "search", maxlength: 100, placeholder: "Filter", autocomplete: "off", value: page.querySelector("#q")?.value ?? "" });
  const groups = el("div");
  const fill = () => {
    const wanted = filter.value.trim().toLowerCase();
    const fits = (each) => !wanted || [each.key, each.title, each.description].some((text) => text.slice(0, 2000).toLowerCase().includes(wanted));
    groups.replaceChildren();
    for (const kind of ["Tools", "Prompts", "Resources"]) {
      const all = offers.filter((each) => each.kind === kind);
      if (!all.length && kind !== "Tools") continue;
      const shown = all.filter(fits);
      const items = shown.slice(0, MOST_LISTED).map((each) => el("li", {}, itemOf(each)));
      groups.append(el("h3", {}, `${kind} `, el("span", { class: "count" }, String(shown.length))), el("ul", {}, ...items));
      if (shown.length > MOST_LISTED) groups.append(el("p", { class: "tiny" }, `These are the first ${MOST_LISTED}; filter for the others.`));
    }
    mark();
  };
  filter.addEventListener("input", fill);
  const heading = sidebar.querySelector("h2");
  const focused = sidebar.contains(document.activeElement) ? document.activeElement : null;
  sidebar.replaceChildren(heading, ...(offers.length > 5 ? [el("div", { class: "filter" }, el("div", { class: "field" }, el("label", { class: "visually-hidden", for: "q" }, "Filter"), filter))] : []), groups);
  fill();
  // Whoever was in the list before it was made anew stays where they were.
  if (focused?.id === "q") filter.focus();
  else if (focused) [...groups.querySelectorAll("button")].find((item) => item.textContent === focused.textContent)?.focus();
}

function itemOf(offer) {
  const item = el("button", { type: "button", title: cut(offer.title, 200), onclick: () => { choose(offer); bench.querySelector("h2").focus(); } }, cut(offer.key, 120));
  item.offer = offer;
  return item;
}

function mark() {
  for (const item of sidebar.querySelectorAll("li > *")) {
    if (item.offer && item.offer === chosen?.target) item.setAttribute("aria-current", "true");
    else if (item.offer) item.removeAttribute("aria-current");
  }
}

// --- One of them, with its form in three modes

function choose(target) {
  running?.abort();
  if (chosen) typed.set(`${chosen.target.kind} ${chosen.target.key}`, chosen.current());
  chosen = benchOf(target);
  const before = typed.get(`${target.kind} ${target.key}`);
  if (before) chosen.fill(before);
  const query = new URLSearchParams({ tab: "inspector", ...(target.kind === "Tools" && target.key.length <= 1000 ? { tool: target.key } : {}) });
  history.replaceState(null, "", `?${query}`);
  mark();
}

function benchOf(target) {
  let form = formOf(target.schema);
  const holder = el("div", { class: "mode" }, form.element);
  const json = el("textarea", { id: "json", class: "mono", rows: 8, spellcheck: "false", "aria-describedby": "json-problem" });
  const jsonProblem = el("p", { class: "problem", id: "json-problem", hidden: true });
  const curl = el("pre", { class: "shown", id: "curl", translate: "no", tabindex: 0 });
  const copy = el("button", { type: "button", class: "button", onclick: () => copied(copy, curl) }, "Copy");
  copy.hidden = !navigator.clipboard;
  const panels = {
    Form: holder,
    JSON: el("div", { class: "mode field" }, el("label", { for: "json" }, "Arguments"), json, jsonProblem),
    cURL: el("div", { class: "mode" }, el("p", { class: "hint" }, "$AIGW_TOKEN is an API token of yours. It is not in this text, and not in this page."), curl, copy),
  };
  let mode = "Form";
  let last = {};

  /* What stands in the shown mode; null when it cannot be read, which is said beside it. */
  function read() {
    const problems = [];
    let value;
    if (mode === "Form") {
      value = form.read(problems);
      form.mark(problems)?.focus();
    } else if (mode === "JSON") {
      value = parsed(problems);
      sayJson(problems);
    } else {
      value = last;
    }
    if (problems.length) return null;
    last = value;
    return value;
  }

  function parsed(problems) {
    try {
      const value = json.value.trim() === "" ? {} : JSON.parse(json.value);
      if (isObject(value)) return value;
      problems.push({ path: [], message: "The arguments must be a JSON object." });
    } catch (error) {
      problems.push({ path: [], message: `This is not JSON: ${error.message}` });
    }
    return null;
  }

  function sayJson(problems) {
    jsonProblem.textContent = problems.map((each) => cut(each.message, 300)).join(" ");
    jsonProblem.hidden = !problems.length;
    json.setAttribute("aria-invalid", String(problems.length > 0));
    if (problems.length) json.focus();
  }

  function turn(wanted) {
    const value = read();
    if (value === null) return false;
    if (wanted === "Form" && mode !== "Form") fill(value);
    if (wanted === "JSON") json.value = JSON.stringify(value, null, 2);
    if (wanted === "cURL") curl.textContent = curlOf(address, messageOf(target.method, target.params(value)), target.repeated?.(value), bringsToken);
    mode = wanted;
    return true;
  }

  function fill(value) {
    form = formOf(target.schema);
    form.write(value);
    holder.replaceChildren(form.element);
    json.value = JSON.stringify(value, null, 2);
    last = value;
  }

  /* The arguments, if nothing is plainly wrong with them; what is wrong is said at its field. */
  function checked() {
    const value = read();
    if (value === null) return null;
    const problems = problemsOf(value, target.schema).slice(0, 20);
    if (mode === "JSON") sayJson(problems);
    else {
      if (problems.length && mode === "cURL") {
        modes.select("Form", true);
        mode = "Form";
        fill(value);
      }
      if (mode === "Form") form.mark(problems)?.focus();
    }
    if (problems.length) say(problems.map((each) => each.message).join(" "));
    return problems.length ? null : value;
  }

  const modes = tabs("How to fill it in", Object.entries(panels).map(([name, panel]) => ({ name, panel })), turn);
  const run = el("button", { class: "button primary" }, "Run", el("kbd", { "aria-hidden": "true" }, navigator.platform.startsWith("Mac") ? "⌘ ↵" : "Ctrl ↵"));
  const cancel = el("button", { type: "button", class: "button", hidden: true, onclick: () => running?.abort() }, "Cancel");
  const progress = el("progress", { hidden: true, "aria-label": "Progress" });
  const state = el("p", { class: "small muted state", "aria-hidden": "true" });
  const card = el("form", { class: "card call", novalidate: true }, bringsToken && credentialField(), modes.list, ...Object.values(panels), el("div", { class: "actions" }, run, cancel, progress, state));
  card.addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  const outcome = el("section", { class: "outcome", "aria-label": "Result" });
  bench.replaceChildren(headOf(target), card, outcome);
  return { target, fill, checked, outcome, run, cancel, progress, state, current: () => { const value = form.read([]); return mode === "Form" ? value : last; } };
}

function headOf(target) {
  const claims = CLAIMS.filter(([hint, value]) => target.annotations?.[hint] === value).map(([, , words]) => words);
  return el(
    "div",
    { class: "chosen" },
    el("h2", { tabindex: -1 }, el("code", { class: "name" }, cut(target.key, 200))),
    target.title && target.title !== target.key && el("p", { class: "muted" }, cut(target.title, 200)),
    target.description && el("p", { class: "said" }, cut(target.description, 2000)),
    claims.length > 0 && el("p", { class: "small muted" }, `It says of itself: ${claims.join(" · ")}`),
  );
}

function credentialField() {
  const before = bench.querySelector("#own")?.value ?? "";
  const input = el("input", { id: "own", type: "password", autocomplete: "off", "aria-describedby": "own-what" });
  input.value = before;
  return el("div", { class: "field" }, el("label", { for: "own" }, "Your upstream authorization"), input, el("p", { class: "hint", id: "own-what" }, "The whole value, such as “Bearer …”. It goes to the server with each call and is kept nowhere."));
}

function ownCredential() {
  const value = bringsToken ? bench.querySelector("#own")?.value.trim() : "";
  return value ? { "X-Upstream-Authorization": value } : {};
}

async function copied(button, from) {
  await navigator.clipboard.writeText(from.textContent);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

// --- The call

function start() {
  if (running) return;
  const given = chosen.checked();
  if (given) void perform(chosen, given);
}

async function perform(at, given) {
  const stopping = (running = new AbortController());
  const { signal } = stopping;
  const exchanges = [];
  const began = performance.now();
  begin(at);
  const clock = setInterval(() => { at.state.textContent = `${at.said ?? "Running"} · ${timeOf(performance.now() - began)}`; }, 200);
  let ended = "";
  try {
    await loadLater();
    let round = {};
    for (let rounds = 0; rounds < MOST_ROUNDS; rounds++) {
      const message = messageOf(at.target.method, { ...at.target.params(given), ...round }, { progress: true });
      const exchange = { message, seen: null };
      exchanges.push(exchange);
      const headers = { ...headersOf(message, at.target.repeated?.(given)), ...ownCredential() };
      exchange.seen = await send(endpoint, csrf, message, { headers, signal, heard: (said) => heard(at, message, said) });
      const asked = later.askedBy(exchange.seen.response);
      if (!asked) break;
      round = asked.round(await answerTo(at, asked, signal));
    }
  } catch (error) {
    ended = signal.aborted ? "You cancelled the call. What it had done by then stays done." : error instanceof TooLarge ? "The answer is larger than 32 MB. It was not read to its end." : "The gateway cannot be reached. Check your connection and run it again.";
  }
  clearInterval(clock);
  end(at, stopping);
  if (chosen !== at) return;
  if (!later.partsOf) {
    at.outcome.replaceChildren(el("div", { class: "note bad" }, el("p", {}, ended)));
    say(ended);
    return;
  }
  show(at, exchanges, ended);
  if (exchanges.length > 1) void load(); // connected by now, and shown what others do not see
  await afterConsent(at, given, exchanges.at(-1)?.seen?.response);
}

function begin(at) {
  at.said = "Running";
  at.run.setAttribute("aria-disabled", "true");
  at.cancel.hidden = false;
  at.progress.hidden = false;
  at.progress.removeAttribute("value");
  at.outcome.replaceChildren();
  say("Running");
}

function end(at, stopping) {
  if (running === stopping) running = null;
  at.run.removeAttribute("aria-disabled");
  if (document.activeElement === at.cancel) at.run.focus();
  at.cancel.hidden = at.progress.hidden = true;
  at.state.textContent = "";
}

/* Ask the person; "accept" goes on with the call. The gateway holds it until they have connected. */
async function answerTo(at, asked, signal) {
  if (asked.link) {
    at.said = "Waiting until you have connected";
    if (!at.outcome.querySelector(".connect")) {
      at.outcome.replaceChildren(later.connectBox(asked.text ?? "Connect your account to go on.", asked.link, "Connect", () => { at.hasLeft = true; }));
      say("You have to connect first. The call goes on by itself once you have.");
    }
    return "accept";
  }
  at.said = "Waiting for you";
  say("The server asks you something.");
  return new Promise((answer, fail) => {
    at.outcome.replaceChildren(later.questionBox(asked.questions, (action) => { at.outcome.replaceChildren(); at.said = "Running"; answer(action); }));
    signal.addEventListener("abort", () => fail(new Error("aborted")), { once: true });
  });
}

function heard(at, message, said) {
  const params = isObject(said?.params) ? said.params : {};
  if (said?.method !== "notifications/progress" || params.progressToken !== message.params._meta.progressToken) return;
  if (typeof params.progress !== "number") return;
  const isKnown = Number.isFinite(params.total) && params.total > 0;
  if (isKnown) {
    at.progress.max = params.total;
    at.progress.value = Math.max(0, Math.min(params.progress, params.total));
  }
  at.said = typeof params.message === "string" && params.message ? cut(params.message, 200) : isKnown ? `${params.progress} of ${params.total}` : `${params.progress}`;
  sayNowAndThen(at.said);
}

// --- What came of it

function show(at, exchanges, ended) {
  const seen = exchanges.at(-1)?.seen;
  const response = seen?.response;
  const offered = later.offeredBy(response);
  const problem = ended || (offered ? "" : problemOf(seen));
  const parts = [];
  if (problem) parts.push(el("div", { class: ended ? "note" : "note bad" }, el("p", {}, cut(problem, 4000)), seen?.status === 401 && el("a", { class: "button", href: `/sign-in/?next=${encodeURIComponent(location.pathname + location.search)}` }, "Sign in")));
  if (offered) parts.push(later.connectBox(offered.text, offered.link, "Connect"));
  else if (response?.error?.data !== undefined) parts.push(later.treeOf(response.error.data));
  else if (response?.result !== undefined) parts.push(...later.partsOf(response.result));
  const raw = el("div", { class: "raw" });
  const results = [
    { name: "Result", panel: el("div", { class: "parts" }, ...parts) },
    { name: "Raw", panel: raw },
    ...(at.target.gives ? [{ name: "Output schema", panel: el("div", {}, later.treeOf(at.target.gives)) }] : []),
  ];
  const shown = tabs("Result", results, (name) => { if (name === "Raw" && !raw.childElementCount) raw.append(...rawOf(exchanges)); });
  at.outcome.replaceChildren(shown.list, seen?.took ? factsOf(seen) : "", ...results.map(({ panel }) => panel));
  say(problem || (offered ? "You have to connect first." : `Done in ${timeOf(seen?.took ?? 0)}.`));
}

function problemOf(seen) {
  const { response } = seen ?? {};
  if (!response) return seen?.refusal ?? "There was no answer.";
  if (isObject(response.error)) return `${typeof response.error.message === "string" ? response.error.message : "The call failed."} (${jsonOf(response.error.code)})`;
  if (response.result?.resultType === "input_required") return "The server asked too often.";
  return response.result?.isError === true ? "The tool reports an error." : "";
}

function factsOf(seen) {
  const save = el("button", { type: "button", class: "text-button", onclick: () => saved(seen) }, "Save the answer");
  const facts = [`HTTP ${seen.status}`, timeOf(seen.took), `first byte after ${timeOf(seen.first)}`, sizeOf(seen.bytes)];
  return el("p", { class: "facts-line tiny" }, facts.join(" · "), " ", save);
}

function saved(seen) {
  const link = el("a", { href: URL.createObjectURL(new Blob([jsonOf(seen.response ?? seen.received, 2)], { type: "application/json" })), download: "answer.json" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function rawOf(exchanges) {
  const parts = [];
  for (const { message, seen } of exchanges) {
    parts.push(el("h3", {}, "Sent"), later.preOf(jsonOf(message, 2)));
    if (!seen) continue;
    parts.push(el("h3", {}, "Received"), ...seen.received.slice(0, 100).map((each) => later.preOf(jsonOf(each, 2))));
    const more = seen.more + Math.max(0, seen.received.length - 100);
    if (more) parts.push(el("p", { class: "tiny" }, `And ${more} more messages.`));
  }
  return parts;
}

/* Where the call has ended with an offer to connect, make it again once the person has. */
async function afterConsent(at, given, response) {
  const offered = later.offeredBy(response);
  if (!offered?.provider) return;
  const box = at.outcome.querySelector(".connect");
  const wait = async () => {
    at.hasLeft = false;
    at.state.textContent = "Waiting until you have connected";
    if (await later.connected(offered.provider, () => chosen === at && !running && box.isConnected)) await perform(at, given);
  };
  if (at.hasLeft) await wait();
  else box.querySelector("a").addEventListener("click", wait, { once: true });
}

let saidAt = 0;

function say(text) {
  saidAt = performance.now();
  live.textContent = cut(text, 500);
}

function sayNowAndThen(text) {
  if (performance.now() - saidAt > SAY_EVERY) say(text);
}

// --- Begin

page.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || !chosen) return;
  event.preventDefault();
  start();
});
if (page.dataset.tool && !bench.querySelector(".outcome")) choose(toolOf(JSON.parse(page.dataset.tool)));
void load();
