"""The catalog: what is known of each provider, as data in `presets/*.yaml`, one file per category.

A preset fills a provider's fields when it is made; from then on the provider's own fields are what counts.
Only `quirks`, `scope_parameter`, `token_params` and `refresh_params` are looked up again later, by the preset's
name: how a provider departs from RFC 6749 is nobody's to type.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from django.core.exceptions import ValidationError

from providers.parameters import PLACEHOLDER, RULES, Parameter, checked, resolve

__all__ = [
    "CATEGORIES",
    "FILLED",
    "QUIRKS",
    "Parameter",
    "Preset",
    "all",
    "fields",
    "get",
    "quirks_of",
    "refill",
    "search",
]

CATEGORIES: tuple[str, ...] = (
    "Identity & SSO",
    "Code & Dev",
    "Productivity",
    "Files & Storage",
    "Communication",
    "CRM & Support",
    "Data Platform",
    "Observability",
    "Infrastructure",
    "HR & Legal",
)
# What `oauth2` and its neighbours know how to do for a provider that departs from the RFC.
QUIRKS = frozenset(
    [
        "accept_json_required",
        "http_200_error_body",
        "error_in_status",
        "ok_flag",
        "scope_comma_in_response",
        "github_scopes",
        "user_token_under_authed_user",
        "no_expires_in",
        "no_scope_param",
        "json_token_request",
        "token_request_extra_params",
        "refresh_omits_rt",
        "pkce_off",
    ]
)
# What a preset may fill in a provider, letter for letter the provider's own field names.
FILLED = (
    "display_name",
    "authorization_endpoint",
    "token_endpoint",
    "revocation_endpoint",
    "device_authorization_endpoint",
    "userinfo_endpoint",
    "account_claim",
    "issuer",
    "resource",
    "token_endpoint_auth_method",
    "scopes",
    "scope_delimiter",
    "authorize_params",
    "require_pkce",
    "callback_mode",
)
FOLDER = Path(__file__).with_suffix("")


@dataclass(frozen=True)
class Preset:
    """What is known of one provider; `{placeholders}` in its URLs are its `parameters`."""

    name: str
    display_name: str
    category: str
    authorization_endpoint: str
    token_endpoint: str
    docs_url: str
    revocation_endpoint: str = ""
    device_authorization_endpoint: str = ""
    userinfo_endpoint: str = ""
    account_claim: str = ""
    issuer: str = ""
    resource: str = ""
    token_endpoint_auth_method: str = "client_secret_basic"  # noqa: S105 - the name of a method
    scopes: tuple[str, ...] = ()
    scope_delimiter: str = " "
    scope_parameter: str = "scope"
    authorize_params: Mapping[str, str] = field(default_factory=dict)
    token_params: Mapping[str, str] = field(default_factory=dict)
    refresh_params: Mapping[str, str] = field(default_factory=dict)
    require_pkce: bool = False
    callback_mode: str = "per_provider"
    parameters: tuple[Parameter, ...] = ()
    quirks: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    mcp_server_url: str = ""

    @property
    def placeholders(self) -> frozenset[str]:
        """Return the placeholders that its texts use."""
        texts = [getattr(self, name) for name in FILLED if isinstance(getattr(self, name), str)]
        return frozenset(PLACEHOLDER.findall(" ".join([*texts, *self.authorize_params.values(), self.mcp_server_url])))

    @property
    def examples(self) -> dict[str, str]:
        """Return an example for every parameter."""
        return {parameter.name: parameter.example for parameter in self.parameters}


def all() -> tuple[Preset, ...]:  # noqa: A001 - read as `presets.all()`
    """Return every preset, by category and then by display name."""
    return tuple(_catalog().values())


def get(name: str) -> Preset | None:
    """Return the preset of this name, or None."""
    return _catalog().get(name)


def quirks_of(preset_name: str) -> frozenset[str]:
    """Return how a preset departs from the RFC; nothing for no preset or one that is not in the catalog any more."""
    preset = get(preset_name)
    return preset.quirks if preset else frozenset()


def search(text: str = "", category: str = "") -> list[Preset]:
    """Return the presets of a category in whose names every word of `text` occurs."""
    words = text.casefold().split()
    return [
        preset
        for preset in all()
        if category in ("", preset.category)
        and _has(f"{preset.name} {preset.display_name} {preset.category}".casefold(), words)
    ]


def fields(preset: Preset, parameters: object) -> dict[str, Any]:
    """Return the provider's fields that the preset fills, placeholders resolved.

    Raises ValidationError on `preset_parameters`, with a sentence for each parameter that is missing or wrong.
    """
    values = checked(preset.name, preset.parameters, parameters)
    return {name: resolve(getattr(preset, name), values) for name in FILLED}


def refill(preset: Preset, current: Mapping[str, Any], *, old: object, new: object) -> dict[str, Any]:
    """Return the fields that change with the parameters: those that are still what `old` gave; what was typed stays.

    Raises ValidationError as `fields` does, for `new` only.
    """
    wanted = fields(preset, new)
    try:
        given = fields(preset, old)
    except ValidationError:
        return {}
    return {name: wanted[name] for name in FILLED if wanted[name] != given[name] and current.get(name) == given[name]}


def _has(text: str, words: Iterable[str]) -> bool:
    return not [word for word in words if word not in text]


@cache
def _catalog() -> dict[str, Preset]:
    read = [preset for path in FOLDER.glob("*.yaml") for preset in _read(path)]
    read.sort(key=lambda preset: (CATEGORIES.index(preset.category), preset.display_name.casefold()))
    if len({preset.name for preset in read}) != len(read):
        raise ValueError("providers/presets/: a preset is named twice")
    return {preset.name: preset for preset in read}


def _read(path: Path) -> Iterable[Preset]:
    """Read one file; ValueError names what is not as it should be."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    if set(document) != {"category", "presets"} or document["category"] not in CATEGORIES:
        raise ValueError(f"{path.name}: needs a known category and presets, and nothing else")
    for entry in document["presets"]:
        try:
            yield _preset(document["category"], **entry)
        except (TypeError, ValueError) as exc:
            raise ValueError(f"{path.name}: {entry.get('name')}: {exc}") from exc


def _preset(category: str, **entry: Any) -> Preset:
    """Make a preset of what the file says; an unknown or a missing key is a TypeError."""
    lists: dict[str, Any] = {name: tuple(entry.pop(name)) for name in ("scopes", "notes") if name in entry}
    parameters = [Parameter(**{**one, "choices": tuple(one.get("choices", ()))}) for one in entry.pop("parameters", ())]
    quirks = frozenset(entry.pop("quirks", ()))
    preset = Preset(category=category, **entry, **lists, parameters=tuple(parameters), quirks=quirks)
    if odd := {*(quirks - QUIRKS), *({parameter.rule for parameter in parameters} - set(RULES))}:
        raise ValueError(f"unknown quirk or rule {min(odd)}")
    return preset
