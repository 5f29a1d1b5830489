"""What the authorization server is told at start: its clients, its users and the key of its operator door."""

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from aigateway.demo.private_files import read_private_json, write_private_json

FILE_NAME = "authserver.json"
USERNAMES = ("alice", "bob")


@dataclass(frozen=True)
class ClientCredentials:
    """How a client authenticates at the authorization server (RFC 6749 section 2.3.1)."""

    client_id: str
    client_secret: str = field(repr=False)

    @classmethod
    def generate(cls, client_id: str) -> Self:
        """Make a secret of 256 random bits for this client."""
        return cls(client_id, secrets.token_urlsafe(32))


@dataclass(frozen=True)
class Registration:
    """Everything that must agree between the authorization server and those who use it."""

    redirect_uris: list[str]
    gateway: ClientCredentials
    resource_server: ClientCredentials
    service_account: ClientCredentials
    passwords: dict[str, str] = field(repr=False)
    operator_key: str = field(repr=False)
    signing_key: str = field(repr=False)

    @classmethod
    def generate(cls, redirect_uris: Sequence[str]) -> Self:
        """Make new secrets for one run."""
        return cls(
            redirect_uris=list(redirect_uris),
            gateway=ClientCredentials.generate("ai-gateway"),
            resource_server=ClientCredentials.generate("demo-mcp-server"),
            service_account=ClientCredentials.generate("demo-service-account"),
            passwords={name: secrets.token_urlsafe(9) for name in USERNAMES},
            operator_key=secrets.token_urlsafe(32),
            signing_key=secrets.token_urlsafe(50),
        )

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` left in the data folder of the authorization server."""
        data = read_private_json(folder / FILE_NAME)
        for client in ("gateway", "resource_server", "service_account"):
            data[client] = ClientCredentials(**data[client])
        return cls(**data)

    def write(self, folder: Path) -> None:
        """Leave it in the data folder, for the authorization server alone to read (mode 0600)."""
        write_private_json(folder / FILE_NAME, asdict(self))
