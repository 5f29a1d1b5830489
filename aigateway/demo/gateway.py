"""The gateway of the demo, started as its user would start it: `manage.py serve`, told everything by settings."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from aigateway.demo.farside import HOST, FarSide
from aigateway.demo.processes import ProcessTree, run_to_end

NAME = "gateway"
# Tokens here live for seconds. Renewing them ahead of time would hide what the walk shows: a renewal on demand.
SCAN_SECONDS = 24 * 3600
# Whatever a `.env` of this project says about the real gateway must not reach the demo's.
NOT_OURS = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "FERNET_KEYS")


@dataclass(frozen=True)
class DemoGateway:
    """The running gateway and the folder with its database, keys and log."""

    url: str
    data_dir: Path
    log: Path
    environment: Mapping[str, str] = field(repr=False)

    @property
    def mcp_url(self) -> str:
        """The MCP endpoint of the server `demo`."""
        return f"{self.url}/mcp/v1/demo"

    def manage(self, *arguments: str, **extra: str) -> str:
        """Run a management command of this gateway to its end; return its last line.

        `extra` goes into its environment. Raises ChildFailedError.
        """
        lines = run_to_end(["manage.py", *arguments], {**self.environment, **extra}).splitlines()
        return lines[-1] if lines else ""


def base_url(port: int) -> str:
    """Return the gateway's public address."""
    return f"http://{HOST}:{port}"


def redirect_uri(port: int) -> str:
    """Return the redirect URI of the provider `demo`, which the authorization server is told beforehand."""
    return f"{base_url(port)}/oauth/v1/callback/demo"


def start_gateway(tree: ProcessTree, folder: Path, far: FarSide, *, port: int) -> DemoGateway:
    """Start the gateway on `port` as a child of `tree`. Raises ChildFailedError when it does not come up."""
    data_dir = folder / NAME
    environment = {
        **dict.fromkeys(NOT_OURS, ""),
        **{f"{name}_FILE": os.devnull for name in NOT_OURS},
        "AIGW_DATA_DIR": str(data_dir),
        "AIGW_BASE_URL": base_url(port),
        "AIGW_TRUSTED_PROXIES": "",
        "AIGW_OUTBOUND_ALLOW": ",".join(urlsplit(url).netloc for url in (far.issuer, far.mcp_url)),
        "AIGW_OUTBOUND_CA_BUNDLE": str(far.ca_bundle),
        "VAULT_SCAN_INTERVAL_SECONDS": str(SCAN_SECONDS),
    }
    arguments = ["manage.py", "serve", "--host", HOST, "--port", str(port)]
    tree.start(NAME, arguments, environment, timeout_seconds=90)
    return DemoGateway(base_url(port), data_dir, tree.log_of(NAME), environment)
