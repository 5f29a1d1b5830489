"""The catalog picker: what one sees first when creating a provider. Links and one GET form, so it needs no script."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest

from providers import presets
from providers.presets import CATEGORIES, Preset


@dataclass(frozen=True, slots=True)
class Chip:
    """A category that one can narrow by; `query` is its link."""

    label: str
    query: str
    is_chosen: bool


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the picker shows for a search and a category."""
    text = request.GET.get("q", "").strip()[:100]
    category = request.GET.get("category", "")
    category = category if category in CATEGORIES else ""
    found = presets.search(text, category)
    return {
        "title": "Create provider",
        "text": text,
        "category": category,
        "chips": [Chip("All", _query(text, ""), not category), *(_chip(name, text, category) for name in CATEGORIES)],
        "groups": _grouped(found),
        "count": len(found),
        "total": len(presets.all()),
    }


def _chip(name: str, text: str, chosen: str) -> Chip:
    return Chip(name, _query(text, name), name == chosen)


def _query(text: str, category: str) -> str:
    return "?" + urlencode({name: value for name, value in (("q", text), ("category", category)) if value})


def _grouped(found: list[Preset]) -> list[tuple[str, list[Preset]]]:
    groups = [(name, [preset for preset in found if preset.category == name]) for name in CATEGORIES]
    return [(name, members) for name, members in groups if members]
