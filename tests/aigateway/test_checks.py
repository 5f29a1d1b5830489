"""System checks: each unsafe setting is found under its id, and says what to do."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import ERROR, CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from pytest_django import Settings

from aigateway import checks, starting
from tests.aigateway import gateways

GOOD_KEY = "a-good-key-0123456789-0123456789-0123456789"


def found(settings: Settings, **changed: Any) -> dict[str | None, CheckMessage]:
    """Return what the checks find with these settings changed."""
    for name, value in changed.items():
        setattr(settings, name, value)
    return {message.id: message for message in checks.judge(None)}


def test_the_settings_of_the_tests_are_safe(settings: Settings) -> None:
    assert not any(message.is_serious(ERROR) for message in found(settings).values())


@pytest.mark.threat("G10")
@pytest.mark.parametrize(
    ("expected", "changed"),
    [
        ("aigateway.E001", {"SECRET_KEY": "short"}),
        ("aigateway.E001", {"SECRET_KEY": "django-insecure-0123456789-0123456789-0123456789"}),
        ("aigateway.E001", {"SECRET_KEY": "a" * 64}),
        ("vault.E001", {"FERNET_KEYS": [GOOD_KEY, "short"]}),
        ("vault.E002", {"SECRET_KEY": GOOD_KEY, "FERNET_KEYS": [GOOD_KEY]}),
        ("vault.E003", {"VAULT_REFRESH_LEASE_SECONDS": 10, "AIGW_TOKEN_ENDPOINT_TIMEOUT_SECONDS": 10}),
        ("vault.W001", {"VAULT_REFRESH_AHEAD_SECONDS": 100, "VAULT_REFRESH_LEEWAY_SECONDS": 150}),
        ("aigateway.E002", {"DEBUG": True, "AIGW_BASE_URL": "https://gateway.test"}),
        ("aigateway.E002", {"DEBUG": True, "AIGW_BASE_URL": "http://127.0.0.1", "DATABASE_URL": "postgresql://x/y"}),
        ("aigateway.E003", {"AIGW_BASE_URL": "http://gateway.example.com"}),
        ("aigateway.E003", {"AIGW_BASE_URL": "http://127.0.0.1.example.com"}),
        ("aigateway.E004", {"AIGW_BASE_URL": "https://*"}),
        ("aigateway.E004", {"AIGW_BASE_URL": "https://.example.com"}),
        ("aigateway.E004", {"AIGW_BASE_URL": "http://0.0.0.0:8000"}),
        ("aigateway.E005", {"AIGW_TRUSTED_PROXIES": ["proxy.internal"]}),
        ("aigateway.E005", {"AIGW_TRUSTED_PROXIES": ["*"]}),
        ("aigateway.E006", {"AIGW_TRUSTED_PROXIES": ["0.0.0.0/0"]}),
        ("aigateway.E006", {"AIGW_TRUSTED_PROXIES": ["::/0"]}),
        ("aigateway.E007", {"AIGW_OUTBOUND_ALLOW": ["10.0.0.0/99"]}),
        ("aigateway.E007", {"AIGW_OUTBOUND_ALLOW": ["http://mcp.internal"]}),
        ("aigateway.E008", {"AIGW_OUTBOUND_CA_BUNDLE": "/nowhere/ca.pem"}),
        ("aigateway.E011", {"REDIS_URL": "http://127.0.0.1:6379"}),
        ("aigateway.E012", {"AIGW_METRICS_ALLOW": ["10.0.0.0/99"]}),
        ("aigateway.E013", {"AIGW_METRICS_DIR": "/nowhere"}),
        ("aigateway.W001", {"DATABASE_URL": "postgresql://x/y", "REDIS_URL": ""}),
    ],
)
def test_an_unsafe_setting_is_found(settings: Settings, expected: str, changed: dict[str, Any]) -> None:
    assert expected in found(settings, **changed)


@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000", "https://gateway.example.com"]
)
def test_loopback_and_https_are_good_public_addresses(settings: Settings, base_url: str) -> None:
    assert not {"aigateway.E003", "aigateway.E004"} & set(found(settings, AIGW_BASE_URL=base_url))


def test_a_bad_entry_is_named_and_a_good_one_is_not(settings: Settings) -> None:
    message = found(settings, AIGW_OUTBOUND_ALLOW=["mcp.internal:8443", "10.0.0.0/99"])["aigateway.E007"]
    assert "10.0.0.0/99" in message.msg
    assert "mcp.internal" not in message.msg


def test_a_bundle_that_is_not_pem_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing of the kind")
    assert "aigateway.E008" in found(settings, AIGW_OUTBOUND_CA_BUNDLE=str(tmp_path / "ca.pem"))


def test_a_key_file_that_others_may_read_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "fernet_key").write_text(GOOD_KEY)
    (tmp_path / "fernet_key").chmod(0o644)
    assert "chmod 600" in str(found(settings, AIGW_DATA_DIR=tmp_path, EMBEDDED=True)["aigateway.E010"].hint)
    (tmp_path / "fernet_key").chmod(0o600)
    assert "aigateway.E010" not in found(settings, AIGW_DATA_DIR=tmp_path, EMBEDDED=True)


def test_no_message_shows_a_key(settings: Settings) -> None:
    messages = found(settings, SECRET_KEY="changeme-canary", FERNET_KEYS=["changeme-canary"])
    assert {"aigateway.E001", "vault.E001", "vault.E002"} <= set(messages)
    assert "canary" not in " ".join(f"{message.msg} {message.hint}" for message in messages.values())


@pytest.mark.django_db
def test_a_process_refuses_to_run_with_an_unsafe_setting(settings: Settings) -> None:
    settings.AIGW_TRUSTED_PROXIES = ["*"]
    with pytest.raises(ImproperlyConfigured, match=r"\(aigateway\.E005\).*'\*' is no network"):
        starting.verify()


@pytest.mark.django_db
def test_a_process_refuses_to_run_on_the_tables_of_an_older_version() -> None:
    ((app, newest),) = MigrationLoader(connection).graph.leaf_nodes("vault")
    MigrationRecorder(connection).record_unapplied(app, newest)
    with pytest.raises(ImproperlyConfigured, match=r"lacks migrations: 1\..*`manage.py migrate`"):
        starting.verify()


@pytest.mark.django_db
def test_a_process_runs_on_the_tables_of_a_newer_version() -> None:
    MigrationRecorder(connection).record_applied("vault", "9999_of_a_newer_version")
    starting.verify()


def test_a_web_process_says_what_a_new_database_needs(tmp_path: Path) -> None:
    done = gateways.web(env=gateways.environment(tmp_path))
    assert done.returncode != 0
    assert "refusing to start" in done.stderr
    assert "Run `manage.py migrate` first" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.threat("G10")
def test_a_wrong_setting_stops_serve(tmp_path: Path) -> None:
    env = gateways.environment(tmp_path, AIGW_BASE_URL="http://gateway.example.com", AIGW_OUTBOUND_ALLOW="10.0.0.0/99")
    done = gateways.manage("serve", "--port", "0", env=env)
    assert done.returncode == 1
    assert "aigateway.E003" in done.stderr
    assert "AIGW_OUTBOUND_ALLOW: '10.0.0.0/99'" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_id_is_used_once_and_documented() -> None:
    code = Path(checks.__file__).read_text()
    ids = re.findall(r'id="((?:aigateway|vault)\.[EW]\d{3})"', code)
    documented = re.findall(r"^\| `((?:aigateway|vault)\.[EW]\d{3})` \|", _settings_page(), re.M)
    assert sorted(ids) == sorted(set(ids))
    assert sorted(documented) == sorted(ids)


def _settings_page() -> str:
    return (gateways.PROJECT / "docs" / "settings.md").read_text()
