"""What a test asks a browser of the page that is open."""

from collections.abc import Sequence

from playwright.sync_api import Page

from tests.real_clients import installing

WIDTHS = (360, 768, 1280)
_WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
_VIOLATIONS = """axe.run().then(found => found.violations
    .map(each => `${each.impact} ${each.id}: ${each.nodes[0].html}`))"""
_OPEN_ALL = "document.querySelectorAll('main details').forEach(each => { each.open = true })"
# The sum of all layout shifts since the page began, those of before this script included.
_SHIFTED = """() => new Promise(resolve => {
    let sum = 0;
    const seen = list => { for (const entry of list.getEntries()) sum += entry.value };
    const observer = new PerformanceObserver(seen);
    observer.observe({type: 'layout-shift', buffered: true});
    setTimeout(() => { seen({getEntries: () => observer.takeRecords()}); resolve(sum) }, 100);
})"""
_FOCUSED = "(document.activeElement.innerText || document.activeElement.value || '').replace(/\\s+/g, ' ').trim()"


def unfold(page: Page) -> None:
    """Open everything that is folded."""
    page.evaluate(_OPEN_ALL)


def axe_source() -> str:
    """Return the script of axe-core, from the locked packages."""
    return (installing.PACKAGES / "axe-core" / "axe.min.js").read_text()


def violations(page: Page, axe: str) -> list[str]:
    """Return what axe-core finds on the page, of whatever impact; the context has to be made with `bypass_csp`."""
    page.evaluate(axe)
    found: list[str] = page.evaluate(_VIOLATIONS)
    return found


def scrolls_sideways(page: Page, widths: Sequence[int] = WIDTHS) -> list[int]:
    """Return the widths at which the page is wider than its window."""
    found = []
    for width in widths:
        page.set_viewport_size({"width": width, "height": 800})
        if page.evaluate(_WIDER) > 0:
            found.append(width)
    return found


def layout_shift(page: Page) -> float:
    """Return by how much the page's parts have moved by themselves so far (CLS)."""
    return float(page.evaluate(_SHIFTED))


def tab_to(page: Page, words: str, *, most: int = 60) -> None:
    """Press Tab until what has the focus begins with `words`, as somebody without a mouse does."""
    met = []
    for _ in range(most):
        page.keyboard.press("Tab")
        met.append(str(page.evaluate(_FOCUSED)))
        if met[-1].startswith(words):
            return
    raise AssertionError(f"Tab does not lead to {words!r}; it met {met}")
