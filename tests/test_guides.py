"""The commands of the guides, run one after the other: a real gateway, authorization server and MCP server.

`<!-- run -->` marks a block of commands, `<!-- browser: STEP -->` what the reader does in a browser there. Every error
that the gateway documents stands in a table of one of the guides.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple, get_args

import pytest

from aigateway.demo.farside import FarSide, start_far_side
from aigateway.demo.gateway import DemoGateway, base_url, start_gateway
from aigateway.demo.processes import PROJECT, ProcessTree, free_port
from connections import refusals
from connections.errors import ExpiredDetail
from mcpservers.dataplane.jsonrpc import Reason
from tests.guide_browser import ADMIN, GATEWAY_PASSWORD

GUIDES = PROJECT / "docs" / "guides"
STEP = re.compile(r"^<!-- (?:run -->\n```sh\n(.*?)^```$|browser: (.*?) -->$)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\|(.*)\|(.*)\|(.*)\|$", re.MULTILINE)
# A guide that needs no provider, and who the upstream sees at its end.
SERVICE_ACCOUNT = "service-accounts.md"
PROVIDERS = {"oauth-providers.md": "tracker", "user-delegated-oauth.md": "calendar"}
# The codes that scripts rely on (the API), on top of what is read from the code below.
API_CODES = {
    "https_required",
    "oauth_provider_not_found",
    "immutable",
    "invalid_ref",
    "secret_not_found",
    "user_oauth_not_supported",
    "address_not_allowed",
    "invalid_scopes",
    "attach_permission_denied",
    "secret_permission_denied",
}


class Stage(NamedTuple):
    """What the commands run against."""

    gateway: DemoGateway
    far: FarSide


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder, port = tmp_path_factory.mktemp("guides"), free_port()
    redirect_uris = [f"{base_url(port)}/oauth/v1/callback/{name}" for name in PROVIDERS.values()]
    with ProcessTree(folder / "logs", say=lambda line: None) as tree:
        far = start_far_side(tree, folder / "farside", redirect_uris=redirect_uris, access_token_seconds=300)
        gateway = start_gateway(tree, folder, far, port=port)
        command = ("createsuperuser", "--noinput", "--username", ADMIN, "--email", "admin@example.com")
        gateway.manage(*command, DJANGO_SUPERUSER_PASSWORD=GATEWAY_PASSWORD)
        yield Stage(gateway, far)


JOURNEYS = {**dict.fromkeys(PROVIDERS, "alice"), SERVICE_ACCOUNT: "demo-service-account"}


@pytest.mark.parametrize("guide", JOURNEYS)
def test_the_journey_ends_in_a_completed_call(stage: Stage, tmp_path: Path, guide: str) -> None:
    script, output = _script((GUIDES / guide).read_text(), stage), tmp_path / "output"
    env = {
        **stage.gateway.environment,
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ},
        "GUIDE_OUTPUT": str(output),
        "GUIDE_GATEWAY": stage.gateway.url,
        "GUIDE_PROVIDER_PASSWORD": stage.far.passwords["alice"],
        "PYTHON": sys.executable,
    }
    with output.open("wb") as written:
        done = subprocess.run(
            ["bash", "-c", script], env=env, cwd=PROJECT, stdout=written, stderr=written, timeout=60, check=False
        )
    said = output.read_text()
    assert done.returncode == 0, said + stage.gateway.log.read_text()[-2000:]
    assert f'"text":"{JOURNEYS[guide]}"' in said
    assert stage.far.client_secret not in said
    assert stage.far.registration.service_account.client_secret not in said


def _script(guide: str, stage: Stage) -> str:
    """Return the guide's steps as one script, its example addresses replaced by real ones."""
    steps = [block or f"browser {step}" for block, step in STEP.findall(guide)]
    assert len(steps) == guide.count("<!-- run -->") + guide.count("<!-- browser:") > 8
    script = "\n".join(
        [
            'browser() { "$PYTHON" -m tests.guide_browser "$@"; }',
            "set -euo pipefail",
            "trap 'echo failed in line $LINENO' ERR",
            *steps,
        ]
    )
    for example, real in {
        "http://127.0.0.1:8000": stage.gateway.url,
        "https://auth.example.com": stage.far.issuer,
        "https://mcp.example.com/mcp": stage.far.mcp_url,
        "the-service-client-id": stage.far.registration.service_account.client_id,
        "the-service-client-secret": stage.far.registration.service_account.client_secret,
        "the-client-id": stage.far.registration.gateway.client_id,
        "the-client-secret": stage.far.client_secret,
        ".venv/bin/python": '"$PYTHON"',
    }.items():
        script = script.replace(example, real)
    return script


def test_every_documented_error_has_a_cause_and_a_fix() -> None:
    symptoms = " ".join(row[0] for guide in PROVIDERS for row in _rows(guide))
    named = set(re.findall(r"`([A-Za-z_]+)`", symptoms))
    known = {
        *API_CODES,
        *(reason.name for reason in Reason),
        *get_args(ExpiredDetail),
        *(str(code) for code in refusals.Code),
        *refusals._AUTHORIZATION_ERRORS,
        *refusals._TOKEN_ERRORS,
    }
    assert known - named == set()


@pytest.mark.parametrize("guide", PROVIDERS)
def test_no_cell_of_the_tables_is_empty(guide: str) -> None:
    rows = _rows(guide)
    assert len(rows) > 15
    assert all(cell.strip() for row in rows for cell in row)


def _rows(guide: str) -> list[tuple[str, str, str]]:
    found = ROW.findall((GUIDES / guide).read_text())
    return [row for row in found if row[0].strip(" -") not in {"", "symptom"}]


def test_the_table_of_clients_tells_of_the_versions_that_are_driven() -> None:
    pinned = json.loads((PROJECT / "tests" / "real_clients" / "package-lock.json").read_text())["packages"]
    driven = {name: pinned[f"node_modules/{name}"]["version"] for name in pinned[""]["dependencies"]}
    driven |= {name: metadata.version(name) for name in ("mcp", "fastmcp")}
    rows = re.findall(r"^\| `([^`]+)`[^|]* \| ([0-9.]+) \|", (GUIDES / "clients.md").read_text(), re.MULTILINE)
    assert dict(rows) == driven


@pytest.mark.parametrize("guide", [*JOURNEYS, "clients.md"])
def test_the_documents_that_a_guide_links_to_exist(guide: str) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", (GUIDES / guide).read_text()):
        assert (GUIDES / target).exists(), target
