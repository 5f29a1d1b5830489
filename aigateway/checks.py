"""System checks: an unsafe or contradictory setting stops the start, under an id that never changes (G10).

The ids are listed in docs/settings.md. Whatever cannot even be read as a value of its type is refused
earlier, in `aigateway.settings`.
"""

import ipaddress
import os
from collections.abc import Callable, Collection, Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError

from outbound import tls
from outbound.addresses import Policy
from outbound.urls import is_loopback_host

TAG = "aigateway"
LEAST_KEY_LENGTH = 32
LEAST_DISTINCT_CHARACTERS = 8
WELL_KNOWN_BEGINNINGS = ("django-insecure-", "changeme", "change-me", "secret", "your-")
KEY_FILES = ("secret_key", "fernet_key")
MAKE_A_KEY = "Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"


@register(TAG)
def judge(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Ask every rule below."""
    return [message for rule in RULES for message in rule()]


@register(TAG, deploy=True)
def judge_keys(app_configs: Any, databases: Collection[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Ask the database, at `check --deploy`, what every start asks it: whether a key is missing."""
    if databases:  # then it is asked as below
        return []
    try:
        return _missing_keys()
    except DatabaseError:
        return [Warning("FERNET_KEYS: the database does not answer, or is not migrated.", id="vault.W002")]


@register(Tags.database)
def judge_keys_of(app_configs: Any, databases: Collection[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Ask it at `check --database default` and before `migrate`: a plain `check` reaches no database, as in Django."""
    try:
        return _missing_keys() if databases else []
    except DatabaseError:  # `migrate` is to bring the tables, and says by itself that nobody answers
        return []


def _missing_keys() -> list[CheckMessage]:
    from vault import keycheck  # has models, which the demo's own settings are without

    found = keycheck.missing_keys()
    return [Error(found, id="vault.E004")] if found else []


def _secret_key() -> Iterator[CheckMessage]:
    if _is_weak(settings.SECRET_KEY):
        yield Error(f"SECRET_KEY is short or well known; {_key_rule()}", MAKE_A_KEY, id="aigateway.E001")


def _fernet_keys() -> Iterator[CheckMessage]:
    for position, key in enumerate(settings.FERNET_KEYS, start=1):
        if _is_weak(key):
            yield Error(
                f"FERNET_KEYS: key {position} is short or well known; {_key_rule()}", MAKE_A_KEY, id="vault.E001"
            )
    if settings.SECRET_KEY in settings.FERNET_KEYS:
        yield Error(
            "FERNET_KEYS holds the SECRET_KEY; a key that signs must not also seal.", MAKE_A_KEY, id="vault.E002"
        )


def _is_weak(key: str) -> bool:
    is_short = len(key) < LEAST_KEY_LENGTH or len(set(key)) < LEAST_DISTINCT_CHARACTERS
    return is_short or key.lower().startswith(WELL_KNOWN_BEGINNINGS)


def _key_rule() -> str:
    return f"use at least {LEAST_KEY_LENGTH} random characters."


def _debug() -> Iterator[CheckMessage]:
    if settings.DEBUG and (settings.DATABASE_URL or settings.AIGW_BASE_URL.startswith("https:")):
        yield Error(
            "AIGW_DEBUG is on in production (a DATABASE_URL or an https AIGW_BASE_URL is set).",
            "Leave AIGW_DEBUG out: its error pages show settings and local variables.",
            id="aigateway.E002",
        )


def _base_url() -> Iterator[CheckMessage]:
    public = urlsplit(settings.AIGW_BASE_URL)
    host = public.hostname or ""
    if "*" in host or host.startswith(".") or host in {"0.0.0.0", "::"}:  # noqa: S104 - named to be refused
        yield Error(
            f"AIGW_BASE_URL names no single host: {settings.AIGW_BASE_URL}.",
            "Write the one address that people type, such as https://gateway.example.com.",
            id="aigateway.E004",
        )
    elif public.scheme == "http" and not is_loopback_host(host):
        yield Error(
            f"AIGW_BASE_URL is plain http on {host}, so passwords and links to consent would travel in clear.",
            "HTTPS required: put a TLS proxy in front and write https://. Plain http is for a loopback address.",
            id="aigateway.E003",
        )


def _trusted_proxies() -> Iterator[CheckMessage]:
    for entry in settings.AIGW_TRUSTED_PROXIES:
        try:
            network = ipaddress.ip_network(entry, strict=False)
        except ValueError:
            yield Error(
                f"AIGW_TRUSTED_PROXIES: {entry!r} is no network.",
                "Write addresses or CIDR blocks, such as 10.0.0.5 or 10.1.0.0/16.",
                id="aigateway.E005",
            )
            continue
        if network.prefixlen == 0:
            yield Error(
                f"AIGW_TRUSTED_PROXIES: {entry} trusts everyone to say where a request comes from.",
                "Name the addresses of your own proxies.",
                id="aigateway.E006",
            )


def _outbound_allow() -> Iterator[CheckMessage]:
    for entry in settings.AIGW_OUTBOUND_ALLOW:
        try:
            Policy.parse([entry])
        except ValueError as exc:
            yield Error(
                f"AIGW_OUTBOUND_ALLOW: {exc}.",
                "Entries are host[:port] or CIDR[:port], such as mcp.internal:8443 or 10.2.0.0/16.",
                id="aigateway.E007",
            )


def _ca_bundle() -> Iterator[CheckMessage]:
    try:
        tls.ssl_context()
    except OSError as exc:
        yield Error(
            f"AIGW_OUTBOUND_CA_BUNDLE: {settings.AIGW_OUTBOUND_CA_BUNDLE} is unusable ({exc.strerror or 'not PEM'}).",
            "Name a readable file of PEM certificates.",
            id="aigateway.E008",
        )


def _data_dir() -> Iterator[CheckMessage]:
    if not settings.EMBEDDED:
        return
    folder = settings.AIGW_DATA_DIR
    if folder.exists() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield Error(
            f"AIGW_DATA_DIR: {folder} is not writable.",
            "The embedded database lives there; give it to this user.",
            id="aigateway.E009",
        )
    for path in (folder / name for name in KEY_FILES):
        if path.exists() and path.stat().st_mode & 0o077:
            yield Error(
                f"AIGW_DATA_DIR: the key file {path} can be read by others.", f"chmod 600 {path}", id="aigateway.E010"
            )


def _metrics() -> Iterator[CheckMessage]:
    for entry in settings.AIGW_METRICS_ALLOW:
        try:
            ipaddress.ip_network(entry, strict=False)
        except ValueError:
            yield Error(
                f"AIGW_METRICS_ALLOW: {entry!r} is no network.",
                "Write addresses or CIDR blocks, such as 10.0.0.5 or 10.1.0.0/16.",
                id="aigateway.E012",
            )
    folder = settings.AIGW_METRICS_DIR
    if folder and not (os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)):
        yield Error(
            f"AIGW_METRICS_DIR: {folder} is no folder that can be written to.",
            "Make it, give it to this user, and empty it before the gateway starts; or leave the setting out.",
            id="aigateway.E013",
        )


def _redis() -> Iterator[CheckMessage]:
    if settings.REDIS_URL and urlsplit(settings.REDIS_URL).scheme not in {"redis", "rediss"}:
        yield Error("REDIS_URL must start with redis:// or rediss://.", id="aigateway.E011")
    if settings.DATABASE_URL and not settings.REDIS_URL:
        yield Warning(
            "DATABASE_URL is set without REDIS_URL: every web process runs a worker of its own.",
            "Set REDIS_URL to run workers apart from the web processes.",
            id="aigateway.W001",
        )


def _lease() -> Iterator[CheckMessage]:
    lease, timeout = settings.VAULT_REFRESH_LEASE_SECONDS, settings.AIGW_TOKEN_ENDPOINT_TIMEOUT_SECONDS
    if lease <= timeout:
        yield Error(
            f"VAULT_REFRESH_LEASE_SECONDS ({lease:g}) must be longer than AIGW_TOKEN_ENDPOINT_TIMEOUT_SECONDS "
            f"({timeout:g}): a refresh still under way would be started a second time.",
            id="vault.E003",
        )


def _refresh_ahead() -> Iterator[CheckMessage]:
    ahead, leeway = settings.VAULT_REFRESH_AHEAD_SECONDS, settings.VAULT_REFRESH_LEEWAY_SECONDS
    if ahead <= leeway + settings.VAULT_SCAN_INTERVAL_SECONDS:
        yield Warning(
            f"VAULT_REFRESH_AHEAD_SECONDS ({ahead:g}) leaves the scan no time before calls must refresh by themselves "
            f"(VAULT_REFRESH_LEEWAY_SECONDS {leeway:g} and VAULT_SCAN_INTERVAL_SECONDS).",
            id="vault.W001",
        )


RULES: tuple[Callable[[], Iterator[CheckMessage]], ...] = (
    _secret_key,
    _fernet_keys,
    _debug,
    _base_url,
    _trusted_proxies,
    _outbound_allow,
    _ca_bundle,
    _data_dir,
    _metrics,
    _redis,
    _lease,
    _refresh_ahead,
)
