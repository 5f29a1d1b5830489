"""What a test must do inside the gateway's database: a process that takes one JSON request per line.

Run with the gateway's own environment, as `python -m tests.faults.inside`.
"""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aigateway.settings")

import django  # noqa: E402

django.setup()

from django.apps import apps  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402
from guardian.shortcuts import assign_perm  # noqa: E402

from aigateway.celery import app  # noqa: E402
from audit import trail  # noqa: E402
from audit.models import Event  # noqa: E402
from changes import counter  # noqa: E402
from clients import tokens as api_tokens  # noqa: E402
from connections import revocation  # noqa: E402
from mcpservers.models import MCPServer  # noqa: E402
from providers.models import OAuthProvider  # noqa: E402
from vault import entries, sealing  # noqa: E402
from vault.models import PendingRevocation, VaultEntry  # noqa: E402

AUDIT_THREADS = 4


def seed(base: str, providers: list[str], users: list[str]) -> dict[str, str]:
    """Make providers, a server for each, and users who may use them; return their API tokens."""
    servers = []
    for name in providers:
        provider = OAuthProvider.objects.create(
            name=name,
            display_name=name,
            authorization_endpoint=f"{base}/{name}/authorize",
            token_endpoint=f"{base}/{name}/token",
            revocation_endpoint=f"{base}/{name}/revoke",
            client_id="gateway",
            token_endpoint_auth_method="none",
        )
        auth = {"mode": "user_oauth", "provider_name": name, "required_scopes": []}
        servers.append(
            MCPServer.objects.create(name=name, url=f"{base}/{name}/mcp", provider_uid=provider.uid, auth=auth)
        )
    made = {}
    for username in users:
        user = User.objects.create_user(username)
        for server in servers:
            assign_perm("use_mcpserver", user, server)
        made[username] = api_tokens.create(user, name="faults")[1]
    return made


def consent(refresh_tokens: dict[str, str]) -> None:
    """Store, for each grant, the tokens that its provider honours; nothing of what was before is left."""
    PendingRevocation.objects.all().delete()
    time_passes()
    users = {user.username: user.pk for user in User.objects.all()}
    providers = {provider.name: provider for provider in OAuthProvider.objects.all()}
    for grant, refresh_token in refresh_tokens.items():
        provider, now = providers[grant.partition("/")[0]], timezone.now()
        access_token = refresh_token.replace("refresh:", "access:")
        entries.store(
            user_id=users[grant.partition("/")[2]],
            provider_uid=provider.uid,
            fingerprint=provider.fingerprint(),
            tokens=entries.Tokens(access_token, refresh_token, now + timedelta(hours=1)),
            scopes_requested=[],
            account="",
            now=now,
        )


def crowd(url: str, count: int, seconds: float) -> None:
    """Make so many connections to a provider that expire in the same minute, of users that hold no other.

    They fall due as the product spreads them, which takes five minutes; here `seconds`, from now on.
    """
    disperse()
    provider = OAuthProvider.objects.create(
        name="crowd",
        display_name="crowd",
        authorization_endpoint=f"{url}/authorize",
        token_endpoint=url,
        client_id="gateway",
        token_endpoint_auth_method="none",
    )
    users = User.objects.bulk_create([User(username=f"crowd-{number}") for number in range(count)])
    now = timezone.now()
    expires_at = now + timedelta(hours=1)
    made = [
        entries.store(
            user_id=user.pk,
            provider_uid=provider.uid,
            fingerprint=provider.fingerprint(),
            tokens=entries.Tokens(f"access-of-{user.pk}", f"refresh-of-{user.pk}", expires_at),
            scopes_requested=[],
            account="",
            now=now,
        )
        for user in users
    ]
    earliest = min(entry.refresh_due_at for entry in made if entry.refresh_due_at)
    latest = max(entry.refresh_due_at for entry in made if entry.refresh_due_at)
    begins = timezone.now()
    with transaction.atomic():
        for entry in made:
            assert entry.refresh_due_at is not None
            place = (entry.refresh_due_at - earliest) / (latest - earliest)
            VaultEntry.objects.filter(pk=entry.pk).update(
                refresh_due_at=begins + timedelta(seconds=seconds * place), expires_at=begins + timedelta(minutes=15)
            )


def snapshot(url: str, count: int, days: int) -> None:
    """Make so many connections as a backup holds them after some days, each of a user with an address.

    Their provider is disabled, until `enable`.
    """
    disperse()
    provider = OAuthProvider.objects.create(
        name="crowd",
        display_name="crowd",
        authorization_endpoint=f"{url}/authorize",
        token_endpoint=url,
        client_id="gateway",
        token_endpoint_auth_method="none",
        enabled=False,
    )
    names = [f"crowd-{number}" for number in range(count)]
    users = User.objects.bulk_create([User(username=name, email=f"{name}@example.com") for name in names])
    then = timezone.now() - timedelta(days=days)
    for user in users:
        entries.store(
            user_id=user.pk,
            provider_uid=provider.uid,
            fingerprint=provider.fingerprint(),
            tokens=entries.Tokens(f"access-of-{user.pk}", f"refresh-of-{user.pk}", then + timedelta(hours=1)),
            scopes_requested=[],
            account="",
            now=then,
        )


def enable() -> None:
    """Let the crowd's provider be asked."""
    provider = OAuthProvider.objects.get(name="crowd")
    provider.enabled = True
    provider.save()


def crowd_reasons() -> dict[str, int]:
    """Count the crowd by why each needs attention."""
    rows = VaultEntry.objects.filter(provider_uid=OAuthProvider.objects.get(name="crowd").uid)
    return dict(Counter(rows.values_list("attention_reason", flat=True)))


def crowd_left() -> int:
    """Return how many of the crowd are not yet renewed."""
    provider = OAuthProvider.objects.get(name="crowd")
    return VaultEntry.objects.filter(provider_uid=provider.uid, refreshed_at__isnull=True).count()


def disperse() -> None:
    """Remove the crowd, its provider and its connections."""
    for provider in OAuthProvider.objects.filter(name="crowd"):
        VaultEntry.objects.filter(provider_uid=provider.uid).delete()
        provider.delete()
    User.objects.filter(username__startswith="crowd-").delete()


def make_due(grants: list[str]) -> None:
    """Have the scan find these grants now; their access tokens still work."""
    for grant in grants:
        _entry(grant).update(refresh_due_at=timezone.now())


def expire(grants: list[str]) -> None:
    """Let the access tokens of these grants expire, where only a call notices."""
    for grant in grants:
        _entry(grant).update(expires_at=timezone.now(), refresh_due_at=None)
    counter.announce()


def time_passes() -> None:
    """Let every wait be over: of entries, and of whole providers."""
    VaultEntry.objects.update(retry_at=None)
    PendingRevocation.objects.update(try_at=timezone.now())
    if "providerhealth" in apps.all_models["connections"]:
        apps.get_model("connections", "ProviderHealth").objects.all().delete()


def state() -> dict[str, dict[str, Any]]:
    """Return what is stored for each grant."""
    users = {user.pk: user.username for user in User.objects.all()}
    names = {provider.uid: provider.name for provider in OAuthProvider.objects.all()}
    return {
        f"{names[entry.provider_uid]}/{users[entry.user_id]}": {
            "refresh_token": sealing.open_sealed(entry, "refresh_token"),
            "generation": entry.generation,
            "reason": entry.attention_reason,
            "is_leased": bool(entry.lease_holder),
        }
        for entry in VaultEntry.objects.all()
    }


def retire(grants: list[str]) -> None:
    """End connections here, and leave telling the provider to the background."""
    for grant in grants:
        entries.retire(_entry(grant).get(), reason="user_disconnected", now=timezone.now())


def deliver(task: str, times: int) -> None:
    """Put the same message into the queue several times."""
    for _ in range(times):
        app.send_task(f"connections.tasks.{task}", task_id=f"faults-{task}")


def retry_here() -> None:
    """Retry revocations in this process."""
    revocation.retry_revocations()


def count_events(action: str) -> int:
    """Return how often something happened, as the audit trail has it."""
    return Event.objects.filter(action=action).count()


def audit(per_second: int, seconds: float) -> dict[str, float]:
    """Record events at a pace, as four threads that serve requests would; return how many, and how long it took."""
    begun, each = time.monotonic(), int(per_second * seconds / AUDIT_THREADS)

    def write(thread: int) -> float:
        slowest = 0.0
        for number in range(each):
            time.sleep(max(begun + number * AUDIT_THREADS / per_second - time.monotonic(), 0))
            at = time.monotonic()
            trail.record("faults.audited", target_type="connection", target=f"event {thread}-{number}", number=number)
            slowest = max(slowest, time.monotonic() - at)
        connection.close()
        return slowest

    with ThreadPoolExecutor(AUDIT_THREADS) as pool:
        slowest = max(pool.map(write, range(AUDIT_THREADS)))
    return {"written": each * AUDIT_THREADS, "seconds": time.monotonic() - begun, "slowest": slowest}


def integrity() -> str:
    """Return what SQLite says of its own file."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA integrity_check")
        return str(cursor.fetchone()[0])


def _entry(grant: str) -> Any:
    provider, _, username = grant.partition("/")
    return VaultEntry.objects.filter(
        provider_uid=OAuthProvider.objects.get(name=provider).uid, user_id=User.objects.get(username=username).pk
    )


VERBS: dict[str, Callable[..., Any]] = {
    verb.__name__: verb
    for verb in (
        seed,
        consent,
        crowd,
        crowd_left,
        snapshot,
        enable,
        crowd_reasons,
        disperse,
        make_due,
        expire,
        time_passes,
        state,
        retire,
        deliver,
        retry_here,
        count_events,
        audit,
        integrity,
    )
}

if __name__ == "__main__":
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = VERBS[request.pop("verb")](**request)
        connection.close()
        print(json.dumps(answer), flush=True)
