"""Every call leaves a row, a log line and numbers; none of them holds what was said."""

import json
import logging
import sys
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, transaction
from pytest_django import Settings

from aigateway import logs
from mcpservers.activity import counting, ledger, recorder, writing
from mcpservers.activity.finished import FinishedCall
from mcpservers.activity.models import ServerCall
from mcpservers.dataplane import measured
from mcpservers.models import MCPServer
from metrics import catalog, instruments
from tests import factories
from tests.dataplane.conftest import MODERN, Agent
from tests.dataplane.test_relay import wait_for
from tests.fakes.mcp_server import FakeMcpServer

CANARY = "cAnArY0123456789abcdef"
Noted = Callable[[], FinishedCall]


def own_records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "mcpservers.calls"]


@pytest.fixture(autouse=True)
def empty_ledger() -> Iterator[None]:
    ledger.take(ledger.WAITING_AT_MOST)
    yield
    ledger.take(ledger.WAITING_AT_MOST)


@pytest.fixture
def noted() -> Noted:
    """Return the next call that was noted: a moment after its caller has read the answer."""

    def take() -> FinishedCall:
        wait_for(lambda: ledger._waiting)
        call = ledger.take(1)[0]
        counting.count([call])
        return call

    return take


def made(call: FinishedCall, **changes: object) -> FinishedCall:
    return call._replace(**changes)  # type: ignore[arg-type]


CALL = FinishedCall(1.0, "r" * 32, None, "", 0, "", "ping", "", "answered", "", "", 200, 1.0, 0.5, 0.5, 10, 20)


def test_a_call_is_noted_with_who_what_and_how_long(agent: Agent, server: MCPServer, alice: User, noted: Noted) -> None:
    answer = agent.call()
    call = noted()
    assert (call.request_id, call.server_uid, call.server) == (answer.headers["X-Request-ID"], server.uid, "tools")
    assert (call.user_id, call.user, call.method, call.tool) == (alice.pk, "alice", "tools/call", "whoami")
    assert (call.status, call.outcome, call.bytes_out) == (200, "answered", len(answer.content))
    assert call.bytes_in > 50
    assert 0 < call.upstream_milliseconds < call.milliseconds


def test_calls_are_counted_once_with_their_bytes(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    before, size = catalog.calls.snapshot(), catalog.call_bytes.snapshot()
    monkeypatch.setattr(ledger, "WAITING_AT_MOST", 3)
    for outcome in ("answered", "answered", "tool_error", "answered"):
        ledger.note(made(CALL, outcome=outcome))
    recorder.flush()
    recorder.flush()
    after = catalog.calls.snapshot()
    assert {key: after[key][0] - before[key][0] for key in after if after[key] != before[key]} == {
        ("answered",): 3,
        ("tool_error",): 1,
    }
    assert [catalog.call_bytes.snapshot()[key,][0] - size[key,][0] for key in ("in", "out")] == [40, 80]


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ({"result": {"content": [], "isError": True}}, "tool_error"),
        ({"result": {"content": [], "isError": False}}, "answered"),
        ({"result": {"content": [{"type": "text", "text": '{"isError":true,"error":{"code":1}}'}]}}, "answered"),
        ({"result": {"structuredContent": {"isError": True, "error": {"code": 1}}, "content": []}}, "answered"),
        ({"error": {"code": -32602, "message": "no such tool"}}, "error"),
        ({"error": {"code": -32042, "message": "the upstream's own", "data": {"elicitations": []}}}, "error"),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_what_the_server_answers_is_told_apart(
    agent: Agent, upstream: FakeMcpServer, noted: Noted, said: dict[str, object], outcome: str, is_stream: bool
) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 7, **said}).encode()

    async def behave(request: object, answer: object) -> None:
        if is_stream:
            await answer.start()  # type: ignore[attr-defined]
            await answer.piece(b"event: message\ndata: " + body + b"\n\n", more=False)  # type: ignore[attr-defined]
        else:
            await answer(200, body)  # type: ignore[operator]

    upstream.behave = behave
    agent.call()
    assert noted().outcome == outcome


def test_a_server_that_fails_or_breaks_off_is_told_apart(agent: Agent, upstream: FakeMcpServer, noted: Noted) -> None:
    async def fail(request: object, answer: object) -> None:
        await answer(503, b"down")  # type: ignore[operator]

    upstream.behave = fail
    agent.call()
    call = noted()
    assert (call.outcome, call.status) == ("error", 503)


def test_a_server_that_is_not_there_is_unavailable(gateway: str, alice: User, noted: Noted) -> None:
    factories.allow(alice, factories.make_server(url="http://127.0.0.1:1/mcp"), "use")
    Agent(gateway, alice).call()
    call = noted()
    assert (call.outcome, call.reason, call.status) == ("unavailable", "UpstreamUnavailable", 502)


def test_a_stranger_and_a_refused_message_are_noted_too(agent: Agent, noted: Noted) -> None:
    agent.send(b"no json")
    assert (noted().outcome, agent.token[:5]) == ("refused", "aigw_")
    agent.headers["Authorization"] = "Bearer wrong"
    agent.call()
    call = noted()
    assert (call.outcome, call.status, call.user, call.server, call.server_uid) == ("refused", 401, "", "", None)


def test_a_consent_that_is_asked_for_is_no_fault_and_its_rung_is_counted(
    gateway: str, upstream_url: str, alice: User, noted: Noted
) -> None:
    server = factories.make_server(url=upstream_url, provider=factories.make_provider())
    factories.allow(alice, server, "use")
    before = catalog.consent_offers.snapshot()
    agent = Agent(gateway, alice)
    agent.call()
    assert (noted().outcome, rungs(before)) == ("consent", {"error": 1})
    meta = {**MODERN, "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"url": {}}}}
    params = {"name": "whoami", "arguments": {}, "_meta": meta}
    headers = {"MCP_Protocol_Version": "2026-07-28", "Mcp_Method": "tools/call", "Mcp_Name": "whoami"}
    agent.post("tools/call", params, **headers)
    assert (noted().outcome, rungs(before)) == ("consent", {"error": 1, "input_required": 1})
    MCPServer.objects.update(consent_delivery="tool_result")
    server.refresh_from_db()
    server.save()
    agent.call()
    assert (noted().outcome, rungs(before)) == ("consent", {"error": 1, "input_required": 1, "tool_result": 1})


def rungs(before: dict[tuple[str, ...], list[float]]) -> dict[str, int]:
    now = catalog.consent_offers.snapshot()
    return {rung: int(now[rung,][0] - before[rung,][0]) for (rung,) in now if now[rung,] != before[rung,]}


@pytest.mark.threat("H04")
def test_a_name_that_a_caller_chose_is_one_short_printable_line(agent: Agent, noted: Noted) -> None:
    agent.call('x\n{"event": "forged"}\x1b[2J\u0000\u2028' + "y" * 500)
    call = noted()
    assert len(call.tool) == 128
    assert call.tool.isprintable()
    assert measured.readable("half \ud800", 128) == "half \ufffd"
    agent.post("m" * 500)
    assert len(noted().method) == 64
    writing.write([made(call, server_uid=MCPServer.objects.get().uid)])
    assert ServerCall.objects.get().tool == call.tool


@pytest.mark.threat("H01")
def test_neither_row_nor_line_holds_arguments_tokens_or_resource_addresses(
    agent: Agent, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    agent.post("tools/call", {"name": "whoami", "arguments": {"password": CANARY}}, X_Canary=CANARY)
    agent.post("resources/read", {"uri": f"file:///{CANARY}"})
    agent.call(f"access_token={CANARY}")
    wait_for(lambda: len(ledger._waiting) == 3)
    with caplog.at_level(logging.INFO, "mcpservers.calls"):
        assert recorder.flush() == 0
    text = "\n".join(map(logs.json_formatter().format, own_records(caplog)))
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["method"] for line in lines] == ["tools/call", "resources/read", "tools/call"]
    assert agent.token not in text
    assert CANARY not in text
    rows = list(ServerCall.objects.order_by("pk").values())
    assert [row["tool"] for row in rows] == ["whoami", "", "access_token=[redacted]"]
    assert CANARY not in str(rows)
    # What stands for a credential may be longer than it.
    writing.write([made(CALL, server_uid=MCPServer.objects.get().uid, tool="x" * 122 + " code=1")])
    assert ServerCall.objects.latest("pk").tool == "x" * 122 + " code="


def test_a_line_says_what_the_contract_names(caplog: pytest.LogCaptureFixture, settings: Settings) -> None:
    ledger.note(made(CALL, user="alice", server="tools", method="tools/call", tool="echo"))
    settings.AIGW_LOG_CALLS = False
    with caplog.at_level(logging.INFO, "mcpservers.calls"):
        recorder.flush()
        assert own_records(caplog) == []
        settings.AIGW_LOG_CALLS = True
        ledger.note(made(CALL, user="alice", server="tools", method="tools/call", tool="echo"))
        recorder.flush()
    line = json.loads(logs.json_formatter().format(own_records(caplog)[0]))
    assert line == {
        "event": "call",
        "level": "info",
        "logger": "mcpservers.calls",
        "timestamp": "1970-01-01T00:00:01Z",
        "request_id": "r" * 32,
        "user": "alice",
        "server": "tools",
        "method": "tools/call",
        "tool": "echo",
        "status": 200,
        "outcome": "answered",
        "reason": "",
        "ms": 1.0,
        "upstream_ms": 0.5,
        "bytes_in": 10,
        "bytes_out": 20,
    }


def test_a_database_that_is_away_loses_no_row_and_repeats_no_line(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(calls: object) -> None:
        raise OperationalError

    server = factories.make_server()
    for number in range(3):
        ledger.note(made(CALL, server_uid=server.uid, status=200 + number))
    with caplog.at_level(logging.INFO, "mcpservers.calls"), monkeypatch.context() as patch:
        patch.setattr(writing, "write", away)
        assert recorder.flush() == 3
        assert recorder.flush() == 3
    assert ServerCall.objects.count() == 0
    assert recorder.flush() == 0
    assert list(ServerCall.objects.order_by("pk").values_list("status", flat=True)) == [200, 201, 202]
    assert sum(len(getattr(record, "finished_calls", ())) for record in own_records(caplog)) == 3


def test_what_does_not_fit_is_counted_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "WAITING_AT_MOST", 2)
    before = catalog.calls_not_recorded.snapshot()[()][0]
    for number in range(4):
        ledger.note(made(CALL, status=number))
    assert catalog.calls_not_recorded.snapshot()[()][0] - before == 2
    taken = ledger.take(2)
    ledger.note(CALL)
    ledger.put_back(taken)
    assert [call.status for call in ledger.take(10)] == [1, 200]
    assert catalog.calls_not_recorded.snapshot()[()][0] - before == 3


def test_without_days_to_keep_there_are_no_rows(transactional_db: None, settings: Settings) -> None:
    settings.AIGW_ACTIVITY_RETENTION_DAYS = 0
    ledger.note(made(CALL, server_uid=factories.make_server().uid))
    assert recorder.flush() == 0
    assert ServerCall.objects.count() == 0


def test_a_batch_is_written_whole_or_not_at_all(transactional_db: None) -> None:
    good = made(CALL, server_uid=factories.make_server().uid)
    with pytest.raises(Exception, match=r"(?i)null"), transaction.atomic():
        writing.write([good, made(good, outcome=None)])
    assert ServerCall.objects.count() == 0


@pytest.mark.threat("H06")
def test_names_from_outside_make_no_series(agent: Agent, noted: Noted) -> None:
    agent.call()
    noted()
    before = {name: set(each.snapshot()) for name, each in instruments.registered.items()}
    for number in range(20):
        agent.url = f"{agent.url.rpartition('/')[0]}/slug-{number}"
        agent.post(f"method-{number}")
        agent.call(f"tool-{number}")
    assert {name: set(each.snapshot()) for name, each in instruments.registered.items()} == before


def test_gateway_and_upstream_time_are_apart(agent: Agent, upstream: FakeMcpServer, noted: Noted) -> None:
    import asyncio

    async def slow(request: object, answer: object) -> None:
        await asyncio.sleep(0.3)
        await answer(200, b'{"jsonrpc":"2.0","id":7,"result":{}}')  # type: ignore[operator]

    agent.call()
    noted()
    upstream.behave = slow
    own, far = (each.snapshot()[()][-1] for each in (catalog.call_seconds, catalog.upstream_seconds))
    agent.call()
    assert noted().upstream_milliseconds >= 300
    assert catalog.upstream_seconds.snapshot()[()][-1] - far >= 0.3
    assert catalog.call_seconds.snapshot()[()][-1] - own < 0.2


@pytest.mark.spec("W3C Trace Context", "2")
def test_the_callers_trace_goes_on_untouched_and_none_is_made(agent: Agent, upstream: FakeMcpServer) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    meta = {"traceparent": parent, "tracestate": "a=1"}
    agent.post("tools/call", {"name": "whoami", "_meta": meta}, traceparent=parent, tracestate="a=1,b=2")
    agent.call()
    first, second = upstream.requests
    assert (first.header("traceparent"), first.header("tracestate")) == (parent, "a=1,b=2")
    assert first.message["params"]["_meta"] == meta
    assert (second.header("traceparent"), second.header("tracestate")) == (None, None)


def test_a_long_name_is_not_remembered() -> None:
    name = "x" * 1_000_000
    references = sys.getrefcount(name)
    assert len(measured.readable(name, 128)) == 128
    assert sys.getrefcount(name) == references
