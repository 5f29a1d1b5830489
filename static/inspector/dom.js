/* Elements made of attributes and texts. Nothing here, or anywhere in the inspector, reads text as markup. */

export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== undefined && value !== null && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null && child !== false && child !== ""));
  return made;
}

export function cut(value, length) {
  const text = typeof value === "string" ? value : "";
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

/* JSON as text. What a stranger nested too deeply to be written again is not worth the page. */
export function jsonOf(value, indent) {
  try {
    return JSON.stringify(value, null, indent) ?? "";
  } catch {
    return "This is nested too deeply to be shown.";
  }
}

export function sizeOf(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export function timeOf(milliseconds) {
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

let made = 0;
export const nextId = (what) => `${what}-${++made}`;

/* Tabs as WAI-ARIA has them: arrows move, the panel follows. `choose` may refuse by returning false. */
export function tabs(label, parts, choose = () => true) {
  const list = el("div", { role: "tablist", "aria-label": label, class: "modes" });
  const all = parts.map(({ name, panel }) => {
    const id = nextId("tab");
    panel.id = panel.id || nextId("panel");
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", id);
    const tab = el("button", { type: "button", role: "tab", id, "aria-controls": panel.id, onclick: () => select(name) }, name);
    list.append(tab);
    return { name, panel, tab };
  });
  function select(wanted, isForced = false) {
    if (!isForced && choose(wanted) === false) return false;
    for (const { name, panel, tab } of all) {
      tab.setAttribute("aria-selected", String(name === wanted));
      tab.tabIndex = name === wanted ? 0 : -1;
      panel.hidden = name !== wanted;
    }
    return true;
  }
  list.addEventListener("keydown", (event) => {
    const at = all.findIndex(({ tab }) => tab === document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const next = all[(to + all.length) % all.length];
    if (select(next.name)) next.tab.focus();
  });
  select(parts[0].name, true);
  return { list, select };
}
