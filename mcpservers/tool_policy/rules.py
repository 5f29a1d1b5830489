"""The policy on a server's tools for one caller, compiled once and asked on every call: no database, no I/O.

The server's own lists hold for everyone. Where groups of the caller have lists, the caller may use what any of these
groups allows, and nothing that the server does not. Within a list deny wins, and an empty `allow` allows all.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from mcpservers.tool_policy import definitions

WILD = re.compile(r"[*?\[]")
Tool = dict[str, Any]


class Verdict(Enum):
    """What becomes of a tool: it may be used, it does not exist for the caller, or nobody may use it for now."""

    ALLOWED = "allowed"
    HIDDEN = "hidden"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Patterns:
    """Names and shell patterns (`*`, `?`, `[abc]`); case counts."""

    names: frozenset[str]
    wild: tuple[Callable[[str], object], ...] = field(repr=False)

    @classmethod
    def of(cls, listed: Iterable[str]) -> "Patterns":
        """Compile a list."""
        wild = [pattern for pattern in listed if WILD.search(pattern)]
        compiled = tuple(re.compile(fnmatch.translate(pattern)).match for pattern in wild)
        return cls(frozenset(listed) - {*wild}, compiled)

    def __bool__(self) -> bool:
        return bool(self.names or self.wild)

    def match(self, name: str) -> bool:
        """Tell whether the list holds the name."""
        return name in self.names or any(matches(name) for matches in self.wild)


@dataclass(frozen=True, slots=True)
class Rules:
    """One pair of lists, the server's or a group's."""

    allow: Patterns
    deny: Patterns

    @classmethod
    def of(cls, allow: Iterable[str], deny: Iterable[str]) -> "Rules":
        """Compile a pair of lists."""
        return cls(Patterns.of(allow), Patterns.of(deny))

    def __bool__(self) -> bool:
        return bool(self.allow or self.deny)

    def allows(self, name: str) -> bool:
        """Tell whether these lists let the tool through."""
        return (not self.allow or self.allow.match(name)) and not self.deny.match(name)


@dataclass(frozen=True, slots=True)
class Policy:
    """What one caller may do with a server's tools.

    `approved` has the digest of each approved definition where changes are held; None where they are not. `changed`
    names those that discovery last saw otherwise.
    """

    everyone: Rules
    groups: tuple[Rules, ...] = ()
    approved: Mapping[str, str] | None = field(default=None, repr=False)
    changed: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.everyone or self.groups or self.approved is not None)

    def verdict(self, name: str) -> Verdict:
        """Return what becomes of a call to the tool."""
        if not self.everyone.allows(name):
            return Verdict.HIDDEN
        if self.groups and not any(rules.allows(name) for rules in self.groups):
            return Verdict.HIDDEN
        if self.approved is not None and (name not in self.approved or name in self.changed):
            return Verdict.HELD
        return Verdict.ALLOWED

    def visible(self, tools: Iterable[Any]) -> list[Tool]:
        """Return the tools that the caller may call and that are as approved, unaltered and in order."""
        return [tool for tool in tools if self._shows(tool)]

    def is_surprised(self, tools: Iterable[Any]) -> bool:
        """Tell whether a tool that may be called is described otherwise than approved: discovery should look."""
        return any(self._may_call(tool) and not self._is_as_approved(tool) for tool in tools)

    def _shows(self, tool: Any) -> bool:
        return self._may_call(tool) and self._is_as_approved(tool)

    def _may_call(self, tool: Any) -> bool:
        name = tool.get("name") if isinstance(tool, dict) else None
        return isinstance(name, str) and self.verdict(name) is Verdict.ALLOWED

    def _is_as_approved(self, tool: Tool) -> bool:
        if self.approved is None:
            return True
        return definitions.digest_of(definitions.definition_of(tool)) == self.approved[tool["name"]]
