"""Plain text that someone put into a sealed column by hand is never taken for the secret (C09)."""

import pytest
from django.contrib.auth.models import User
from django.db import connection

from connections.errors import ConnectionRequired
from connections.tokens import usable_token
from providers.models import OAuthProvider
from tests import factories
from vault import rotation, secrets, standing
from vault.models import VaultEntry
from vault.rows import UNREADABLE, columns_of
from vault.sealing import Unreadable, open_sealed

PLAIN = "ghp_planted-by-hand"


def plant(table: str, column: str) -> None:
    """Write past the model, as someone at the database's own prompt would."""
    value = PLAIN.encode() if connection.vendor == "postgresql" else PLAIN
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {column} = %s", [value])  # noqa: S608 - our own names


@pytest.fixture
def provider(db: None) -> OAuthProvider:
    return factories.make_provider()


@pytest.mark.database
@pytest.mark.threat("C09")
@pytest.mark.parametrize("column", columns_of(VaultEntry))
def test_no_column_of_a_connection_gives_it_out(alice: User, provider: OAuthProvider, column: str) -> None:
    factories.make_vault_entry(alice, provider)
    plant(VaultEntry._meta.db_table, column)
    with pytest.raises(Unreadable) as refused:
        open_sealed(VaultEntry.objects.get(), column)
    assert PLAIN not in str(refused.value)


@pytest.mark.database
@pytest.mark.threat("C09", "C03")
def test_a_call_asks_to_connect_and_a_rotation_leaves_it_alone(alice: User, provider: OAuthProvider) -> None:
    factories.make_vault_entry(alice, provider)
    plant(VaultEntry._meta.db_table, "access_token")
    with pytest.raises(ConnectionRequired):
        usable_token(user_id=alice.pk, provider_uid=provider.uid, scopes=[])
    rotation.rotate(lambda *_: None, trusting=False)
    assert VaultEntry.objects.get().access_token.ciphertext == PLAIN.encode()
    assert standing.rows_by_key(VaultEntry) == {UNREADABLE: 1}


@pytest.mark.database
@pytest.mark.threat("C09")
def test_a_secret_is_not_read(db: None) -> None:
    factories.make_secret("MCP_KEY")
    plant("vault_secret", "value")
    with pytest.raises(Exception, match="MCP_KEY|not open") as refused:
        secrets.read("MCP_KEY", purpose="test")
    assert PLAIN not in str(refused.value)
