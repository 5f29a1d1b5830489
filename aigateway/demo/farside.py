"""Starting the far side: one authorization server, one MCP server, and what a gateway's admin would be told of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from aigateway.demo.authserver.registration import Registration
from aigateway.demo.certificates import issue_certificates
from aigateway.demo.mcpserver import REQUIRED_SCOPE, ResourceServer
from aigateway.demo.processes import ProcessTree

HOST = "127.0.0.1"
SCOPES = ["profile", REQUIRED_SCOPE]
LEDGER_TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class LiveTokens:
    """How many tokens of one user the authorization server would accept now."""

    access: int
    refresh: int


@dataclass(frozen=True)
class Ledger:
    """What the authorization server has answered since it started."""

    counts: Mapping[str, int]
    live_tokens: Mapping[str, LiveTokens]

    def token_requests(self, grant_type: str, outcome: str = "issued") -> int:
        """Tell how many token requests of a grant, such as `refresh_token`, were `issued` or `refused`."""
        return self.counts.get(f"token.{grant_type}.{outcome}", 0)

    def revocations(self, outcome: str = "accepted") -> int:
        """Tell how many revocation requests were `accepted` or `refused`."""
        return self.counts.get(f"revocation.{outcome}", 0)


@dataclass(frozen=True)
class FarSide:
    """The running servers."""

    issuer: str
    mcp_url: str
    ca_bundle: Path
    registration: Registration = field(repr=False)

    @property
    def client_secret(self) -> str:
        """The secret under which the gateway is registered, for the gateway's secret store."""
        return self.registration.gateway.client_secret

    @property
    def passwords(self) -> Mapping[str, str]:
        """The generated sign-ins at the authorization server, by user name."""
        return self.registration.passwords

    def provider_fields(self) -> dict[str, Any]:
        """Tell the fields that describe the authorization server as a provider; name and secret are the admin's."""
        return {
            "display_name": "Demo authorization server",
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "revocation_endpoint": f"{self.issuer}/revoke",
            "device_authorization_endpoint": f"{self.issuer}/device-authorization",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "account_claim": "preferred_username",
            "client_id": self.registration.gateway.client_id,
            "token_endpoint_auth_method": "client_secret_basic",
            "scopes": SCOPES,
            "require_pkce": True,
        }

    def ledger(self) -> Ledger:
        """Read the operator's counts; they hold no token."""
        with requests.Session() as session:
            session.trust_env = False
            response = session.get(
                f"{self.issuer}/operator/ledger",
                headers={"Authorization": f"Bearer {self.registration.operator_key}"},
                timeout=LEDGER_TIMEOUT_SECONDS,
            )
        response.raise_for_status()
        answer = response.json()
        live = {name: LiveTokens(**numbers) for name, numbers in answer["live_tokens"].items()}
        return Ledger(counts=answer["counts"], live_tokens=live)


def start_far_side(
    tree: ProcessTree, data_dir: Path, *, redirect_uris: Sequence[str], access_token_seconds: int = 8
) -> FarSide:
    """Start both servers as children of `tree`, with new secrets and certificates in `data_dir` (made if missing).

    Raises ChildFailedError when one of them does not come up.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    registration = Registration.generate(redirect_uris)
    registration.write(data_dir)
    environment = {"DEMO_DATA_DIR": str(data_dir)}
    issuer = tree.start(
        "authorization server",
        ["-m", "aigateway.demo.authserver", "--host", HOST],
        {**environment, "DEMO_ACCESS_TOKEN_SECONDS": str(access_token_seconds)},
    )
    certificates = issue_certificates(data_dir, HOST, "localhost")
    ResourceServer(
        issuer=issuer,
        introspection_endpoint=f"{issuer}/introspect",
        client_id=registration.resource_server.client_id,
        client_secret=registration.resource_server.client_secret,
        certificate=str(certificates.server),
    ).write(data_dir)
    mcp_url = tree.start("MCP server", ["-m", "aigateway.demo.mcpserver", "--host", HOST], environment)
    return FarSide(issuer=issuer, mcp_url=mcp_url, ca_bundle=certificates.ca_bundle, registration=registration)
