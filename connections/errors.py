"""Why there is no usable token. Every message is safe to show and to log.

TokenError
├── ConnectionRequired      this user has nothing usable for this provider: connect
├── TokenExpired            lapsed and cannot be renewed; `detail` says why
├── ScopeUpgradeRequired    granted scopes lack some that are needed
├── ProviderNotFound        the provider is gone or disabled
├── ServiceAccountRefused   a server's own client is refused: for an admin to put right
├── RefreshUnavailable      a renewal is due and cannot be had now; later it may
└── SecretMissing           the provider's `client_secret_ref` does not resolve
"""

from typing import Literal

ExpiredDetail = Literal[
    "invalid_grant", "no_refresh_token", "idle", "upstream_rejected", "lost_rotation", "upstream_error"
]


class TokenError(Exception):
    """There is no token to use at `provider_name`."""

    def __init__(self, provider_name: str, message: str = "") -> None:
        super().__init__(message or f"No usable token for {provider_name}")
        self.provider_name = provider_name


class ConnectionRequired(TokenError):
    """The user has to connect first."""

    def __init__(self, provider_name: str) -> None:
        super().__init__(provider_name, f"Not connected to {provider_name}")


class TokenExpired(TokenError):
    """The user has to connect again; `detail` is one of the contract's (§6)."""

    def __init__(self, provider_name: str, detail: ExpiredDetail) -> None:
        super().__init__(provider_name, f"The connection to {provider_name} has ended: {detail}")
        self.detail: ExpiredDetail = detail


class ScopeUpgradeRequired(TokenError):
    """The user has to grant `missing` as well."""

    def __init__(self, provider_name: str, missing: list[str]) -> None:
        super().__init__(provider_name, f"The connection to {provider_name} lacks scopes: {', '.join(missing)}")
        self.missing = missing


class ProviderNotFound(TokenError):
    """The provider is `gone` or `disabled`."""

    def __init__(self, provider_name: str, why: Literal["gone", "disabled"]) -> None:
        super().__init__(provider_name, "OAuth provider not found")
        self.why: Literal["gone", "disabled"] = why


class ServiceAccountRefused(TokenError):
    """The authorization server refuses the client or its scopes, or the upstream refuses what it issued: `why`."""

    def __init__(self, provider_name: str, why: str) -> None:
        super().__init__(provider_name, f"The service account is refused: {why}")
        self.why = why


class RefreshUnavailable(TokenError):
    """The token lapsed and the provider cannot be asked now; the same call may work later."""

    def __init__(self, provider_name: str, why: str) -> None:
        super().__init__(provider_name, f"The token for {provider_name} cannot be refreshed now: {why}")
        self.why = why


class SecretMissing(TokenError):
    """The provider's client secret cannot be read."""

    def __init__(self, provider_name: str, secret_name: str) -> None:
        super().__init__(provider_name, f"Secret {secret_name} not found")
        self.secret_name = secret_name
