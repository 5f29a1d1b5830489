/* Comforts of the provider's form: scopes as chips, the callback URL as it will be, the first field ready to type in.
   The page works without. */
const first = document.querySelector("#content [autofocus]");
// The theme shows the page late: until then the browser's own autofocus finds nothing that could take it.
function focusFirst() {
  if (first && document.activeElement === document.body) first.focus();
}
document.addEventListener("alpine:initialized", () => requestAnimationFrame(focusFirst));
window.addEventListener("load", () => requestAnimationFrame(focusFirst));

const name = document.getElementById("id_name");
const shown = document.getElementById("callback-url");
function showCallback() {
  const shared = document.querySelector('[name="callback_mode"][value="shared"]');
  const own = name ? name.value || "NAME" : shown.textContent.split("/").pop();
  const base = shown.dataset.base.replace(/\/$/, "");
  shown.textContent = shared && shared.checked ? base : `${base}/${own}`;
}
if (name && shown) {
  name.addEventListener("input", showCallback);
  document.addEventListener("change", (event) => { if (event.target.name === "callback_mode") showCallback(); });
}

for (const area of document.querySelectorAll("textarea[data-tokens]")) {
  const box = document.createElement("div");
  const input = document.createElement("input");
  let scopes = area.value.split(/\s+/).filter(Boolean);
  box.className = "aigw-tokens";
  input.setAttribute("aria-label", `Add to ${area.dataset.tokens}`);
  input.setAttribute("aria-describedby", area.getAttribute("aria-describedby") || "");
  Object.assign(input, { id: `${area.id}_add`, placeholder: "Add, then Enter", spellcheck: false, autocomplete: "off" });
  function draw() {
    area.value = scopes.join("\n");
    box.replaceChildren(...scopes.map((scope) => {
      const token = document.createElement("span");
      const remove = document.createElement("button");
      Object.assign(remove, { type: "button", textContent: "×", title: "Remove" });
      remove.setAttribute("aria-label", `Remove ${scope}`);
      remove.addEventListener("click", () => { scopes = scopes.filter((other) => other !== scope); draw(); input.focus(); });
      token.className = "aigw-token";
      token.append(scope, remove);
      return token;
    }), input);
  }
  function take() {
    const added = input.value.split(/\s+/).filter((scope) => scope && !scopes.includes(scope));
    scopes = [...scopes, ...added];
    input.value = "";
    draw();
  }
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); take(); input.focus(); }
    if (event.key === "Backspace" && !input.value && scopes.length) { scopes = scopes.slice(0, -1); draw(); input.focus(); }
  });
  input.addEventListener("blur", () => { if (input.value.trim()) take(); });
  area.form.addEventListener("submit", take);
  area.hidden = true;
  document.querySelector(`label[for="${area.id}"]`)?.setAttribute("for", input.id);
  draw();
  area.after(box);
}
