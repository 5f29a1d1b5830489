"""What a server authenticates as, and where its token comes from right now: a client of its own, or a provider's."""

import hashlib
import json
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, UUID, uuid5

from connections.errors import ProviderNotFound, SecretMissing
from providers.models import AuthMethod, OAuthProvider
from providers.oauth2 import RegisteredClient
from providers.registered import registered_client, service_client
from vault import secrets
from vault.models import Secret


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A server's service account as its admin described it; of a provider or a client of its own, one is named."""

    server_uid: UUID
    server_name: str
    scopes: tuple[str, ...]
    is_provider_named: bool
    provider_name: str = ""
    provider_uid: UUID | None = None
    client_id: str = ""
    client_secret_ref: str = ""
    token_endpoint: str = ""
    auth_method: str = AuthMethod.BASIC.value
    resource: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the token of an account comes from. `fingerprint` changes with all that decides which token it is.

    `uid` and `name` are what the health of the token endpoint is kept under: the provider's, or the endpoint's own.
    """

    account: ServiceAccount
    provider: OAuthProvider | None
    fingerprint: str

    @property
    def uid(self) -> UUID:
        """Return the provider's, or one that every client of the same token endpoint has."""
        return self.provider.uid if self.provider else uuid5(NAMESPACE_URL, self.account.token_endpoint)

    @property
    def name(self) -> str:
        """Return the provider's name, or the host of the token endpoint."""
        return self.provider.name if self.provider else urlsplit(self.account.token_endpoint).netloc[:63]

    def client(self) -> RegisteredClient:
        """Open the client secret (audited) and return the client. Raises SecretNotFound."""
        if self.provider:
            return registered_client(self.provider)
        own = self.account
        ref, secret = own.client_secret_ref, ""
        if own.auth_method != AuthMethod.NONE:
            secret = secrets.read(ref, purpose=f"mcp-server {own.server_name}")
        return service_client(
            self.name,
            token_endpoint=own.token_endpoint,
            client_id=own.client_id,
            client_secret=secret,
            auth_method=own.auth_method,
            resource=own.resource,
        )


def source_of(account: ServiceAccount) -> Source:
    """Return where the account's token comes from now. Raises ProviderNotFound, SecretMissing."""
    provider = _provider(account) if account.is_provider_named else None
    ref = provider.client_secret_ref if provider else account.client_secret_ref
    secret = _secret(ref, provider.name if provider else account.server_name) if ref else None
    own = [account.token_endpoint, account.client_id, account.auth_method, account.resource]
    theirs = [str(provider.uid), provider.fingerprint(), provider.resource] if provider else []
    parts = [own, theirs, list(account.scopes), secret]
    return Source(account, provider, hashlib.sha256(json.dumps(parts).encode()).hexdigest())


def _provider(account: ServiceAccount) -> OAuthProvider:
    provider = OAuthProvider.objects.filter(uid=account.provider_uid).first() if account.provider_uid else None
    if provider is None:
        raise ProviderNotFound(account.provider_name, "gone")
    if not provider.enabled:
        raise ProviderNotFound(provider.name, "disabled")
    return provider


def _secret(ref: str, owner: str) -> list[str]:
    """Return which secret it is and when it was last written: a rotated one makes another token."""
    found = Secret.objects.filter(name=ref).values_list("uid", "updated_at").first()
    if found is None:
        raise SecretMissing(owner, ref)
    return [str(found[0]), found[1].isoformat()]
