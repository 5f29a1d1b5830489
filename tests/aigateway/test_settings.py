"""Settings from the environment: first-start keys, files, and messages that name what is wrong."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from aigateway import environment
from tests.aigateway import gateways

POSTGRESQL = "postgresql://someone:pass-word-canary@127.0.0.1:1/none"


def start(tmp_path: Path, **env: str) -> str:
    """Return what `manage.py check` says when it must refuse; it is one line, no traceback."""
    done = gateways.manage("check", env=gateways.environment(tmp_path / "data", **env))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_first_start_keys_are_private_and_different(tmp_path: Path) -> None:
    done = gateways.manage("check", env=gateways.environment(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    keys = [tmp_path / "data" / name for name in ("secret_key", "fernet_key")]
    assert [key.stat().st_mode & 0o777 for key in keys] == [0o600, 0o600]
    assert len({key.read_text() for key in keys}) == 2


def test_two_processes_that_start_at_once_make_one_key(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from aigateway.environment import first_start_key;"
        "print(first_start_key(Path(sys.argv[1]), 'secret_key'))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "data")]
    processes = [subprocess.Popen(command, cwd=gateways.PROJECT, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    answers = {process.communicate(timeout=60)[0] for process in processes}
    assert answers == {(tmp_path / "data" / "secret_key").read_text()}
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["secret_key"]


@pytest.mark.threat("C04", "G10")
@pytest.mark.parametrize("missing", ["SECRET_KEY", "FERNET_KEYS"])
def test_with_a_database_url_a_missing_key_stops_the_start(tmp_path: Path, missing: str) -> None:
    keys = {name: value for name, value in gateways.KEYS.items() if name != missing}
    message = start(tmp_path, DATABASE_URL=POSTGRESQL, **keys)
    assert message.startswith(f"Settings: {missing} is not set")
    assert not (tmp_path / "data").exists(), "no key may be made where a database is named"


@pytest.mark.threat("G10")
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DATABASE_POOL_MAX", "many", "write a number"),
        ("DATABASE_POOL_MAX", "1", "the least allowed is 2"),
        ("AIGW_MAX_REQUEST_BYTES", "2000.5", "write a whole number"),
        ("VAULT_SCAN_INTERVAL_SECONDS", "nan", "the least allowed"),
        ("AIGW_DEBUG", "perhaps", "write true or false"),
        ("AIGW_LOG_LEVEL", "LOUD", "write DEBUG, INFO"),
        ("AIGW_BASE_URL", "gateway.example.com", "must look like https://"),
        ("AIGW_BASE_URL", "https://gateway.example.com/path", "with no path"),
        ("AIGW_BASE_URL", "https://gateway.example.com:99999", "must look like https://"),
        ("DATABASE_URL", "mysql://someone:pass-word-canary@host/name", "must look like postgresql://"),
        ("DATABASE_URL", "postgresql://someone:pass-word-canary@host:port/name", "must look like postgresql://"),
        ("SECRET_KEY_FILE", "/nowhere/at/all", "cannot be read"),
    ],
)
def test_a_wrong_setting_names_itself(tmp_path: Path, name: str, value: str, says: str) -> None:
    message = (
        start(tmp_path, **gateways.KEYS, **{name: value})
        if name == "DATABASE_URL"
        else start(tmp_path, **{name: value})
    )
    assert message.startswith(f"Settings: {name}")
    assert says in message
    assert "canary" not in message


@pytest.mark.threat("G10")
def test_a_data_dir_that_cannot_be_made_names_itself(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, no folder")
    assert start(tmp_path).startswith("Settings: AIGW_DATA_DIR")


def test_a_key_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("from-the-file\n")
    monkeypatch.setenv("SOME_KEY_FILE", str(tmp_path / "key"))
    assert environment.text("SOME_KEY") == "from-the-file"


def test_an_empty_key_file_is_refused_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "fernet_key").touch(mode=0o600)
    with pytest.raises(ImproperlyConfigured, match="fernet_key is empty"):
        environment.first_start_key(tmp_path, "fernet_key")


@pytest.mark.threat("C04")
@pytest.mark.parametrize("lost", ["secret_key", "fernet_key"])
def test_a_lost_key_is_not_made_anew_beside_a_database(tmp_path: Path, lost: str) -> None:
    assert gateways.manage("check", env=gateways.environment(tmp_path / "data")).returncode == 0
    (tmp_path / "data" / "aigateway.sqlite3").touch()
    (tmp_path / "data" / lost).unlink()
    message = start(tmp_path)
    assert f"{lost} is gone" in message
    assert not (tmp_path / "data" / lost).exists()


def test_the_documentation_names_every_setting_and_its_default() -> None:
    code = (gateways.PROJECT / "aigateway" / "settings.py").read_text()
    documented = dict(
        re.findall(r"^\| `([A-Z_]+)` \| ([^|]*) \|", (gateways.PROJECT / "docs/settings.md").read_text(), re.M)
    )
    calls = re.findall(
        r"\b(?:text|items|flag|number|whole)\(\s*\"([A-Z_]+)\"(?:,\s*([^,()\n]+?))?(?:,\s*minimum=[^)]*)?\)", code
    )
    assert {name for name, _ in calls} == set(documented)
    for name, default in calls:
        if re.fullmatch(r"[\d_.]+", default):
            assert documented[name].strip().startswith(f"{float(default):g}"), f"default of {name}"
