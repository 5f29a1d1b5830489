"""Placeholders in a preset's URLs: what may stand in them, and the sentences that say so.

Every rule keeps the value inside its own part of the URL: none can bring a scheme, a path or a user name along.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError

LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
NOT_IN_A_URL = "no https://, no slash, no user name"
# How a placeholder's value must look, and that rule in words. Each keeps the value inside its part of the URL.
RULES = {
    "host": (
        re.compile(rf"\A(?=.{{1,253}}\Z){LABEL}(?:\.{LABEL})+(?::[1-9][0-9]{{0,4}})?\Z", re.IGNORECASE | re.ASCII),
        f"a host name with its dots, {NOT_IN_A_URL}",
    ),
    "label": (
        re.compile(rf"\A{LABEL}\Z", re.IGNORECASE | re.ASCII),
        f"one part of a host name: no dots, {NOT_IN_A_URL}",
    ),
    "id": (
        re.compile(r"\A(?!.*\.\.)[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?\Z"),
        f"an id of letters, digits, dots, hyphens and underscores: {NOT_IN_A_URL}",
    ),
}
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Parameter:
    """A placeholder that the admin fills in: a host name, one part of one, an id, or one of a few choices."""

    name: str
    hint: str
    example: str
    rule: str = "host"
    choices: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Return the name as a form shows it."""
        return self.name.replace("_", " ").capitalize()

    @property
    def rule_in_words(self) -> str:
        """Say what a value must look like."""
        return f"one of {', '.join(self.choices)}" if self.choices else RULES[self.rule][1]

    def accepts(self, value: object) -> bool:
        """Tell whether a value obeys the rule."""
        if not isinstance(value, str):
            return False
        return value in self.choices if self.choices else bool(RULES[self.rule][0].match(value))

    def in_url(self, value: str) -> str:
        """Return an accepted value as it stands in a URL: host names compare without case."""
        return value if self.choices or self.rule == "id" else value.lower()


def resolve(value: Any, values: Mapping[str, str]) -> Any:
    """Put values in place of the placeholders of a text, or of a mapping's texts; a tuple becomes a list."""
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda found: values[found[1]], value)
    if isinstance(value, Mapping):
        return {name: resolve(text, values) for name, text in value.items()}
    return list(value) if isinstance(value, tuple) else value


def checked(owner: str, parameters: Iterable[Parameter], given: object) -> dict[str, str]:
    """Return the given values as they stand in a URL.

    Raises ValidationError on `preset_parameters`, with a sentence for each that is missing, wrong or not `owner`'s.
    """
    if not isinstance(given, Mapping):
        raise _refusal([("invalid", 'Give an object of strings, for example {"domain": "acme.example.com"}.')])
    known = {parameter.name: parameter for parameter in parameters}
    findings = [_unknown(owner, known, name) for name in given if name not in known]
    for name, parameter in known.items():
        if given.get(name, "") == "":
            findings.append(("required", f"{name} is missing: {_wanted(parameter)}"))
        elif not parameter.accepts(given[name]):
            findings.append(("invalid", f"{name} is not valid: {_wanted(parameter)}"))
    if findings:
        raise _refusal(findings)
    return {name: parameter.in_url(given[name]) for name, parameter in known.items()}


def _wanted(parameter: Parameter) -> str:
    return f"give {parameter.rule_in_words}, for example {parameter.example}."


def _unknown(owner: str, known: Iterable[str], name: object) -> tuple[str, str]:
    names = ", ".join(known) or "none; leave this out"
    return "invalid", f"{owner} has no parameter {str(name)[:80]!r}. It has {names}."


def _refusal(findings: Iterable[tuple[str, str]]) -> ValidationError:
    return ValidationError({"preset_parameters": [ValidationError(text, code=code) for code, text in findings]})
