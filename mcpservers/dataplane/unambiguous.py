"""JSON that every reader reads alike: what a policy judges here is what the upstream will do (D17).

RFC 8259 §4 and §8 leave open what a repeated name or a lone surrogate means, and readers differ; so do readers that
match the names of members without regard to case. Whatever could be read in two ways is refused.
"""

import json
import re
from collections.abc import Set
from typing import Any

ENVELOPE = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class Ambiguous(ValueError):
    """The text is JSON, but may be read in more than one way; the message says why and quotes nothing."""


def read(body: bytes) -> Any:
    """Decode UTF-8 JSON. Raises ValueError, RecursionError, and Ambiguous."""
    decoded = _decoder.decode(body.decode())
    if _ESCAPED_SURROGATE.search(body):
        _refuse_lone_surrogates(decoded)
    return decoded


def refuse_lookalikes(members: Set[str], names: frozenset[str]) -> None:
    """Raise Ambiguous for a member that is one of `names` but for its case."""
    if members <= names:
        return
    for member in members - names:
        if member.casefold() in names:
            raise Ambiguous("A member's name differs from one of the protocol's in its case only.")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Ambiguous("An object names a member twice.")
    return members


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _refuse_lone_surrogates(decoded: Any) -> None:
    try:
        json.dumps(decoded, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Ambiguous("A string holds half of a surrogate pair.") from None


# One decoder for all: json.loads would make one for each call.
_decoder = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_refuse_constant)
