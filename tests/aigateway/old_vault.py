"""Bring a new database to where the migrations were before key ids, and fill it. Run by test_forward.py with a number.

Every connection has tokens of its own, sealed under the last of `FERNET_KEYS`.
"""

import os
import sys
import uuid

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aigateway.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402
from django.db.migrations.executor import MigrationExecutor  # noqa: E402
from django.utils import timezone  # noqa: E402

from vault.models import VaultEntry  # noqa: E402
from vault.sealing import seal  # noqa: E402

RELEASED = [
    ("audit", "0001_initial"),
    ("changes", "0001_initial"),
    ("clients", "0002_groups"),
    ("connections", "0003_providerhealth"),
    ("mcpservers", "0002_mcpsession"),
    ("providers", "0004_keep_idle_connections"),
    ("vault", "0002_renewal"),
    ("sessions", "0001_initial"),
]
AT_ONCE = 1000


def main(count: int) -> None:
    """Migrate so far and no further, then make `count` connections and an audit event."""
    settings.FERNET_KEYS = settings.FERNET_KEYS[-1:]
    MigrationExecutor(connection).migrate(RELEASED)
    old = MigrationExecutor(connection).loader.project_state(RELEASED).apps
    entries, now, provider_uid = old.get_model("vault", "VaultEntry")._base_manager, timezone.now(), uuid.uuid4()

    def entry(user_id: int) -> object:
        owner = VaultEntry(user_id=user_id, provider_uid=provider_uid)
        return entries.model(
            user_id=user_id,
            provider_uid=provider_uid,
            connected_at=now,
            access_token=seal(owner, "access_token", f"access-{user_id}"),
            refresh_token=seal(owner, "refresh_token", f"refresh-{user_id}"),
        )

    for first in range(1, count + 1, AT_ONCE):
        entries.bulk_create(entry(user_id) for user_id in range(first, min(first + AT_ONCE, count + 1)))
    old.get_model("audit", "Event")._base_manager.create(action="secret.opened", result="ok")


if __name__ == "__main__":
    main(int(sys.argv[1]))
