"""What a call of a tool came to, as a page shows it without script: texts, never markup. No I/O.

Everything in an answer is a stranger's. What looks like the gateway's own offer to connect is one only if its link is.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

MAX_SHOWN = 100_000
MAX_PARTS = 100
TOO_DEEP = "This is nested too deeply to be shown."
AUTHORIZE = "/oauth/v1/authorize"
META_KEY = "aigateway/error"


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an answer; `is_cut` when it is longer than is shown."""

    title: str
    text: str
    size: int

    @property
    def is_cut(self) -> bool:
        """Tell whether the rest is not shown."""
        return self.size > len(self.text)


@dataclass(frozen=True, slots=True)
class Answer:
    """`problem` says what went wrong, if anything did; `connect_url` leads to what mends it."""

    problem: str
    parts: tuple[Part, ...]
    connect_url: str = ""


def answer_of(response: Any) -> Answer:
    """Return how a JSON-RPC response is shown."""
    error, result = response.get("error"), response.get("result")
    if isinstance(error, dict):
        said = str(error.get("message", ""))[:MAX_SHOWN]
        link = _own_link(error.get("data"))
        return Answer(
            said.partition(" Open this link in a browser: ")[0] if link else f"{said} ({error.get('code')})",
            () if link else tuple(_json("Details", error.get("data"))),
            link,
        )
    shown = result if isinstance(result, dict) else {}
    meta = shown.get("_meta")
    link = _own_link(meta.get(META_KEY)) if isinstance(meta, dict) else ""
    problem = "The tool reports an error." if shown.get("isError") is True else ""
    return Answer(problem, _first(_parts(shown)), link)


def _first(parts: Iterator[Part]) -> tuple[Part, ...]:
    found = tuple(islice(parts, MAX_PARTS + 1))
    return found if len(found) <= MAX_PARTS else (*found[:MAX_PARTS], Part("There are more parts.", "", 0))


def _parts(result: dict[str, Any]) -> Iterator[Part]:
    yield from _json("Structured result", result.get("structuredContent"))
    content = result.get("content")
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str):
            yield _part("Text", block["text"])
        elif isinstance(block, dict) and isinstance(block.get("data"), str):
            yield Part(f"{block.get('type')}, {block.get('mimeType')}"[:200], "", len(block["data"]))
        else:
            yield from _json("Content", block)


def _json(title: str, value: Any) -> Iterator[Part]:
    if value is None:
        return
    try:
        yield _part(title, json.dumps(value, indent=2, ensure_ascii=False))
    except RecursionError:
        yield _part(title, TOO_DEEP)


def _part(title: str, text: str) -> Part:
    return Part(title, text[:MAX_SHOWN], len(text))


def _own_link(data: Any) -> str:
    link = data.get("authorize_url") if isinstance(data, dict) else None
    if not isinstance(link, str) or not link.startswith(f"{settings.AIGW_BASE_URL}{AUTHORIZE}?"):
        return ""
    return link if urlsplit(link).path == AUTHORIZE else ""
