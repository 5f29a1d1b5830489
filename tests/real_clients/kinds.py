"""The clients that are driven, each as somebody would set it up, and how it is started."""

import sys
from pathlib import Path
from typing import NamedTuple

from tests.real_clients.installing import HERE, INSTALLED, PACKAGES, PROGRAM

BRIDGE = ["node", str(PACKAGES / "mcp-remote" / "dist" / "proxy.js")]
SDK, SDK_2, FASTMCP = "sdk", "client", "fastmcp"
MODERN, SESSIONS, UNTOLD = "2026-07-28", "2025-11-25", None


class Kind(NamedTuple):
    """A program, the era it is told to speak, what it declares, and mcp-remote's arguments where it goes through it."""

    program: str
    mode: str
    declares: str
    bridge: tuple[str, ...] | None = None

    def __str__(self) -> str:
        """Name the test."""
        bridge = [] if self.bridge is None else ["through mcp-remote", *self.bridge]
        return " ".join([self.program, self.mode, self.declares, *bridge])

    def command(self, url: str, token: str, folder: Path) -> list[str]:
        """Return how the client is started; mcp-remote is given the token in a file, not among its arguments."""
        said = [self.mode, self.declares, url]
        if self.program == FASTMCP:
            return [sys.executable, str(HERE / "fastmcp_client.py"), *said]
        through: list[str] = []
        if self.bridge is not None:
            headers = folder / "headers"
            headers.write_text(f"Authorization: Bearer {token}\n")
            through = [*BRIDGE, url, "--header-file", str(headers), *self.bridge]
        return ["node", str(INSTALLED / PROGRAM), self.program, *said, *through]


# With the revision that each settles on, where it tells.
TAKES_LINKS = {
    Kind(SDK, "legacy", "links"): SESSIONS,
    Kind(SDK_2, "legacy", "links"): SESSIONS,
    Kind(SDK_2, "auto", "links"): MODERN,
    Kind(FASTMCP, "legacy", "links"): SESSIONS,
    Kind(FASTMCP, "auto", "links"): MODERN,
    Kind(SDK, "legacy", "links", bridge=()): UNTOLD,
    Kind(SDK_2, "auto", "links", bridge=("--protocol", "auto")): MODERN,
}
SHOWS_ERRORS = {
    Kind(SDK, "legacy", "nothing"): SESSIONS,
    Kind(SDK, "legacy", "forms"): SESSIONS,
    Kind(SDK_2, "legacy", "nothing"): SESSIONS,
    Kind(SDK_2, "auto", "nothing"): MODERN,
    Kind(FASTMCP, "legacy", "nothing"): SESSIONS,
    Kind(FASTMCP, "auto", "nothing"): MODERN,
    Kind(SDK, "legacy", "nothing", bridge=()): UNTOLD,
}
HEARS_OF_CONSENT = [Kind(SDK, "legacy", "links"), Kind(SDK_2, "legacy", "links")]
TOLD_TO_THE_MODEL = [Kind(SDK, "legacy", "nothing"), Kind(SDK_2, "auto", "links"), Kind(FASTMCP, "auto", "nothing")]
BRIDGE_THAT_LOSES_LINKS = Kind(SDK_2, "legacy", "links", bridge=("--protocol", "auto"))
