/* A call that needs the person first: to connect, or to answer a question of the server's. */

import { cut, el } from "./dom.js";
import { isObject } from "./schema.js";

const AUTHORIZE = "/oauth/v1/authorize";
const NEEDS_CONSENT = new Set([-32010, -32011, -32012]);
const LOOK_EVERY = 2000;
const LOOK_FOR = 600_000;
const CONSENT = "aigateway_consent";

/* A stranger may write anything into a link: only one to our own consent page becomes a button. */
export function ownLink(link) {
  try {
    const url = new URL(link);
    return url.origin === location.origin && url.pathname === AUTHORIZE ? url.href : "";
  } catch {
    return "";
  }
}

/* Only https, and no name before an @, which would pass for the host. */
function strangersLink(link) {
  try {
    const url = new URL(link);
    return url.protocol === "https:" && !url.username && !url.password ? url : null;
  } catch {
    return null;
  }
}

/* What an answer asks for before the call can go on: null, or {link, round} or {questions, round}. */
export function askedBy(response) {
  const result = response?.result;
  if (!isObject(result) || result.resultType !== "input_required" || !isObject(result.inputRequests)) return null;
  const entries = Object.entries(result.inputRequests);
  const link = ownLink(result.inputRequests[CONSENT]?.params?.url);
  const round = (action) => ({
    ...(result.requestState === undefined ? {} : { requestState: result.requestState }),
    inputResponses: Object.fromEntries(entries.map(([key]) => [key, { action }])),
  });
  return { link: entries.length === 1 ? link : "", text: result.inputRequests[CONSENT]?.params?.message, questions: entries.map(([, question]) => question), round };
}

/* The offer to connect in an answer that ends the call: null, or {link, provider, text}. */
export function offeredBy(response) {
  const error = response?.error;
  const data = isObject(error) && NEEDS_CONSENT.has(error.code) ? error.data : response?.result?._meta?.["aigateway/error"];
  const link = isObject(data) ? ownLink(data.authorize_url) : "";
  if (!link) return null;
  const provider = /^[a-z][a-z0-9-]{0,62}$/.test(data.provider) ? data.provider : "";
  const text = isObject(error) ? (typeof error.message === "string" ? error.message : "You have to connect first.").split(" Open this link in a browser: ")[0] : "You have to connect first.";
  return { link, provider, text };
}

export function connectBox(text, link, label, clicked = () => {}) {
  const button = el("a", { class: "button primary", href: link, target: "_blank", rel: "noopener", onclick: clicked }, label);
  return el("div", { class: "note warn connect" }, el("p", {}, cut(text, 2000)), button);
}

/* A question of the server's own: it may have the person open a link, and nothing else here. */
export function questionBox(questions, answer) {
  const box = el("div", { class: "note warn connect" });
  let isAnswerable = true;
  for (const question of questions.slice(0, 10)) {
    const params = isObject(question?.params) ? question.params : {};
    const url = params.mode === "url" ? strangersLink(params.url) : null;
    isAnswerable &&= Boolean(url);
    box.append(el("p", {}, cut(params.message ?? question?.method, 2000)));
    if (url) box.append(el("p", {}, el("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, cut(url.href, 300))));
  }
  if (!isAnswerable) box.append(el("p", {}, "The server asks for something that only a client with a person at it can answer."));
  if (isAnswerable) box.append(el("button", { type: "button", class: "button primary", onclick: () => answer("accept") }, "Continue"));
  box.append(el("button", { type: "button", class: "button", onclick: () => answer("decline") }, "Decline"));
  return box;
}

/* Wait until the person has connected, as the connection itself says. False when they did not, or it is not wanted. */
export async function connected(provider, isWanted) {
  const until = Date.now() + LOOK_FOR;
  while (Date.now() < until) {
    await new Promise((done) => { setTimeout(done, LOOK_EVERY); });
    if (!isWanted()) return false;
    try {
      const answer = await fetch(`/api/v1/connections/${provider}/`, { cache: "no-store", headers: { Accept: "application/json" } });
      if (answer.ok && (await answer.json()).status === "connected") return isWanted();
      if (answer.status === 401 || answer.status === 403) return false;
    } catch {
      // Out of reach for the moment.
    }
  }
  return false;
}
