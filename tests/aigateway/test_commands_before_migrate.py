"""Management commands where `migrate` has not run yet, and what `check --deploy` says of a sound installation."""

from pathlib import Path

import pytest

from tests.aigateway import gateways


@pytest.mark.parametrize(
    "command",
    [
        ["after_restore"],
        ["rotate_vault_keys"],
        ["rotate_vault_keys", "--status"],
        ["collect_vault"],
        ["offboard", "alice"],
    ],
)
def test_a_command_that_needs_tables_says_what_to_do(tmp_path: Path, command: list[str]) -> None:
    done = gateways.manage(*command, env=gateways.environment(tmp_path))
    assert done.returncode == 1
    assert "CommandError: The database lacks migrations: " in done.stderr
    assert "Run `manage.py migrate` first." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sound_installation_passes_the_deploy_check_without_a_word(tmp_path: Path) -> None:
    env = gateways.environment(tmp_path, AIGW_BASE_URL="https://gateway.example.com")
    assert gateways.manage("migrate", "--verbosity", "0", env=env).returncode == 0
    done = gateways.manage("check", "--deploy", "--fail-level", "WARNING", env=env)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout
    assert done.stderr == ""
