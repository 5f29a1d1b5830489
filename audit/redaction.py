"""Take whatever looks like a credential out of a text before it is kept or shown (H01, H03).

The second line of defence: no code of ours writes a token anywhere, but what a caller, a library or a server says may
hold one.
"""

import re
from functools import lru_cache

TELLING_NAMES = (
    "access_token|refresh_token|id_token|client_secret|(?:device_|user_)?code|code_verifier|state|ticket|token|password"
)
SECRET_SHAPES = re.compile(
    r"(?i)(\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}"
    rf"|(\b(?:{TELLING_NAMES})"
    r"[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;}]+"
    r"|(://)[^/\s@]+@"
    r"|(\baigw_)[\w-]{8,}"
    # A validation error of pydantic quotes what was sent.
    r"|(\binput_value=).+?(?=, input_type=|$)"
)


def redacted(text: str) -> str:
    """Return `text` with whatever looks like a credential replaced by `[redacted]`."""
    return SECRET_SHAPES.sub(_keep_label, text)


@lru_cache(maxsize=4096)
def redacted_name(name: str, length: int) -> str:
    """Return what somebody called a thing, as it may be kept: redacted, and cut to `length` characters."""
    return redacted(name)[:length]


def _keep_label(match: re.Match[str]) -> str:
    if match.group(3):
        return "://[redacted]@"
    return f"{next(filter(None, match.group(1, 2, 4, 5)), '')}[redacted]"
