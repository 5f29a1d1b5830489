"""The severity of log messages (RFC 5424), as MCP names it."""

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


def is_wanted(level: object, wanted: str) -> bool:
    """Tell whether a message of `level` goes to a request that asked for `wanted` or worse; "" asked for none."""
    return wanted in LEVELS and level in LEVELS and not is_lower(str(level), wanted)


def is_lower(level: str, than: str) -> bool:
    """Tell whether `level` lets more messages through; anything does where nothing was set."""
    return than not in LEVELS or LEVELS.index(level) < LEVELS.index(than)
