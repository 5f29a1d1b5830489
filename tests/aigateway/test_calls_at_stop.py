"""A clean stop of a real gateway loses no call: every one has its row and its log line."""

import json
import sqlite3
import threading
from pathlib import Path

import pytest
import requests

from tests.aigateway import gateways
from tests.fakes.mcp_server import FakeMcpServer
from tests.fakes.serving import serving

SEED = """
from django.contrib.auth.models import User
from guardian.shortcuts import assign_perm
from clients import tokens
from mcpservers.models import MCPServer
user = User.objects.create_user("alice")
assign_perm("use_mcpserver", user, MCPServer.objects.create(name="tools", url="{url}"))
print(tokens.create(user, name="tests")[1])
"""
CALLS, CALLERS = 50, 4


@pytest.mark.threat("H08", "H01")
def test_every_call_before_a_clean_stop_has_its_row_and_its_line(tmp_path: Path) -> None:
    with serving(FakeMcpServer()) as upstream:
        env = gateways.environment(
            tmp_path / "data", AIGW_OUTBOUND_ALLOW="127.0.0.0/8", AIGW_ACTIVITY_RETENTION_DAYS="1"
        )
        with gateways.serving(tmp_path / "log", "--processes", "2", env=env) as gateway:
            url = gateway.url()
            seeded = gateways.manage("shell", "-v", "0", "-c", SEED.format(url=f"{upstream}/mcp"), env=env)
            token = seeded.stdout.split()[-1]
            ids: list[str] = []
            callers = [threading.Thread(target=_call, args=(url, token, ids)) for _ in range(CALLERS)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
            assert gateway.stop() == 0
    assert len(ids) == CALLS * CALLERS
    database = sqlite3.connect(tmp_path / "data" / "aigateway.sqlite3")
    rows = database.execute("SELECT request_id, tool, outcome FROM mcpservers_servercall").fetchall()
    database.close()
    assert sorted(row[0] for row in rows) == sorted(ids)
    assert {row[1:] for row in rows} == {("whoami", "answered")}
    lines = [json.loads(line) for line in gateway.output.splitlines() if '"mcpservers.calls"' in line]
    assert sorted(line["request_id"] for line in lines) == sorted(ids)
    assert token not in gateway.output
    assert "secret-argument" not in gateway.output + str(rows)


def _call(url: str, token: str, ids: list[str]) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    params = {"name": "whoami", "arguments": {"said": "secret-argument"}}
    with requests.Session() as http:
        for _ in range(CALLS):
            headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
            answer = http.post(f"{url}/mcp/v1/tools", json={**body, "params": params}, headers=headers, timeout=30)
            assert answer.status_code == 200, answer.text
            ids.append(answer.headers["X-Request-ID"])
