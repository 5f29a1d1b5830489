"""The auth modes in words, the same on every surface (contract §3)."""

from typing import NamedTuple


class Mode(NamedTuple):
    """What people read of an auth mode: its name, and who the upstream will see."""

    label: str
    upstream_sees: str


MODES = {
    "none": Mode("None", "No credential is sent. The upstream cannot tell who calls."),
    "static_key": Mode("Static key", "Everyone calls as the same key. The upstream sees one account for all."),
    "token_passthrough": Mode(
        "Token passthrough",
        "Each caller brings their own upstream token in X-Upstream-Authorization. The upstream sees whoever it is of.",
    ),
    "service_account_oauth": Mode(
        "Service-account OAuth",
        "Everyone calls as one client, whose token the gateway gets and renews. The upstream sees one account for all.",
    ),
    "user_oauth": Mode(
        "User-delegated OAuth",
        "Each user calls as themselves. The upstream sees the account with which that user connected.",
    ),
}
