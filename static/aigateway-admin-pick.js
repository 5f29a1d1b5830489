/* Whoever comes back from the page behind "New" finds in the list what was made there. Without script: reload. */
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-new-for]");
  if (!link) return;
  addEventListener("focus", () => renew(document.getElementById(link.dataset.newFor)), { once: true });
});

async function renew(select) {
  const answer = await fetch(location.href, { credentials: "same-origin" });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const known = new Set([...select.options].map((option) => option.value));
  for (const option of page.getElementById(select.id)?.options ?? []) {
    if (known.has(option.value)) continue;
    select.add(new Option(option.text, option.value, false, true));
  }
}
