"""A message that two readers could read differently is refused before anything goes upstream (D17, D09)."""

import json

import pytest

from mcpservers.dataplane import jsonrpc
from mcpservers.dataplane.jsonrpc import MalformedMessage
from tests.dataplane.conftest import Agent
from tests.fakes.mcp_server import FakeMcpServer


def call(params: str, envelope: str = '"method":"tools/call"') -> bytes:
    return f'{{"jsonrpc":"2.0","id":7,{envelope},"params":{params}}}'.encode()


SAFE = '"name":"safe","arguments":{}'
TWO_READINGS = {
    "name twice": call('{"name":"safe","name":"drop_all"}'),
    "name twice, one escaped": call(r'{"name":"safe","n\u0061me":"drop_all"}'),
    "method twice": call(f"{{{SAFE}}}", '"method":"ping","method":"tools/call"'),
    "params twice": call(f'{{{SAFE}}},"params":{{"name":"drop_all"}}'),
    "id twice": call(f'{{{SAFE}}},"id":8'),
    "argument twice": call('{"name":"safe","arguments":{"path":"a","path":"b"}}'),
    "deep down twice": call('{"name":"safe","arguments":{"a":[{"b":{"c":1,"c":2}}]}}'),
    "same value twice": call('{"name":"safe","name":"safe"}'),
    "Name beside name": call('{"name":"safe","Name":"drop_all"}'),
    "NAME alone": call('{"NAME":"drop_all"}'),
    "a long s": call(f'{{{SAFE}}},"param\u017f":{{"name":"drop_all"}}'),
    "Method": call(f'{{{SAFE}}},"Method":"ping"'),
    "Arguments": call(f'{{{SAFE},"Arguments":{{"x":1}}}}'),
    "lone surrogate": call(r'{"name":"safe\ud800"}'),
    "lone surrogate in an argument": call(r'{"name":"safe","arguments":{"x":"\uDFFF"}}'),
    "lone surrogate in a key": call(r'{"name":"safe","arguments":{"\udc00":1}}'),
}
NO_JSON = {
    "UTF-16": call(f"{{{SAFE}}}").decode().encode("utf-16"),
    "UTF-16 without a mark": call(f"{{{SAFE}}}").decode().encode("utf-16-le"),
    "byte order mark": b"\xef\xbb\xbf" + call(f"{{{SAFE}}}"),
    "a surrogate in UTF-8": call('{"name":"safe#"}').replace(b"#", b"\xed\xa0\x80"),
    "overlong UTF-8": call('{"name":"safe#"}').replace(b"#", b"\xc0\xaf"),
    "NaN": call('{"name":"safe","arguments":{"x":NaN}}'),
}
NO_NAME = {
    "no name": call("{}"),
    "a number": call('{"name":7}'),
    "null": call('{"name":null}'),
    "a list": call('{"name":["safe"]}'),
    "no params": b'{"jsonrpc":"2.0","id":7,"method":"tools/call"}',
}


@pytest.mark.threat("D17")
@pytest.mark.parametrize("body", TWO_READINGS.values(), ids=TWO_READINGS)
def test_what_reads_in_two_ways_is_an_invalid_request(agent: Agent, upstream: FakeMcpServer, body: bytes) -> None:
    answer = agent.send(body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32600)
    assert "drop_all" not in answer.text
    assert upstream.requests == []


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_only_utf_8_is_json_here(agent: Agent, upstream: FakeMcpServer, body: bytes) -> None:
    answer = agent.send(body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32700)
    assert upstream.requests == []


@pytest.mark.parametrize("body", NO_NAME.values(), ids=NO_NAME)
def test_a_call_without_a_name_goes_nowhere(agent: Agent, upstream: FakeMcpServer, body: bytes) -> None:
    answer = agent.send(body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)
    assert upstream.requests == []


@pytest.mark.parametrize("name", ["na\u00efve", "nai\u0308ve", "\U0001f6e0", "UPPER", "a b", "<b>"])
def test_a_name_is_taken_as_it_is(name: str) -> None:
    for written in (json.dumps(name), json.dumps(name, ensure_ascii=False)):
        assert jsonrpc.read(call(f'{{"name":{written},"arguments":{{"Name":1,"name":2}}}}')).name == name


def test_what_other_methods_send_is_their_own() -> None:
    message = jsonrpc.read(b'{"jsonrpc":"2.0","id":1,"method":"x/y","params":{"Name":1,"name":[2]}}')
    assert message.params == {"Name": 1, "name": [2]}


def test_two_readings_keep_the_id_where_there_is_only_one() -> None:
    with pytest.raises(MalformedMessage) as refused:
        jsonrpc.read(TWO_READINGS["Name beside name"])
    assert refused.value.id == 7
