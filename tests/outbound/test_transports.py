"""What all three transports promise, over real connections to loopback."""

from __future__ import annotations

import time
import traceback

import pytest

from outbound.addresses import Policy, check_url
from outbound.errors import (
    AddressNotAllowed,
    AnswerTooLarge,
    ConnectFailed,
    HTTPSRequired,
    InvalidURL,
    OutboundError,
    RedirectRefused,
    TimedOut,
)
from tests.outbound.conftest import fetch_http1, running_server

PUBLIC = "93.184.216.34"
CANARY = "canary-5f1c"


def test_an_allowed_address_answers(fetch, server):
    assert fetch(server.url(), policy=Policy.parse(server.open_for)) == (200, b"hello")


def test_the_settings_are_the_policy_when_none_is_given(fetch, server, settings):
    settings.AIGW_OUTBOUND_ALLOW = server.open_for
    assert fetch(server.url()) == (200, b"hello")
    settings.AIGW_OUTBOUND_ALLOW = []
    with pytest.raises(AddressNotAllowed):
        fetch(server.url())


@pytest.mark.threat("E01")
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.1", "169.254.169.254", "10.0.0.1"]
)
def test_a_denied_address_is_never_connected_to(fetch, server, host):
    with pytest.raises((AddressNotAllowed, HTTPSRequired)):
        fetch(server.url(host=host), policy=Policy())
    with pytest.raises(AddressNotAllowed):
        fetch(server.url(host=host).replace("http:", "https:"), policy=Policy())
    assert server.connections == 0


@pytest.mark.threat("E01")
def test_the_port_of_an_entry_is_part_of_it(fetch, server, second_server):
    with pytest.raises(AddressNotAllowed):
        fetch(second_server.url(), policy=Policy.parse(server.open_for))
    assert second_server.connections == 0


@pytest.mark.threat("E03")
@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "１２７.０.０.１", "localhost."])
def test_an_odd_spelling_reaches_nothing(fetch, server, host):
    policy = Policy(resolve=lambda host, port: ["127.0.0.1"])
    with pytest.raises((AddressNotAllowed, InvalidURL)):
        fetch(server.url(host=host).replace("http:", "https:"), policy=policy)
    assert server.connections == 0


@pytest.mark.threat("E02")
def test_a_name_that_turns_private_after_the_save_is_refused(fetch, server):
    answers = [[PUBLIC], ["127.0.0.1"]]
    policy = Policy(resolve=lambda host, port: answers.pop(0))
    url = server.url(host="rebind.example").replace("http:", "https:")
    check_url(url, policy=policy)
    with pytest.raises(AddressNotAllowed):
        fetch(url, policy=policy)
    assert server.connections == 0


@pytest.mark.threat("E02")
@pytest.mark.parametrize("answer", [["127.0.0.1", PUBLIC], [PUBLIC, "127.0.0.1"], ["::1", PUBLIC, "127.0.0.1"]])
def test_one_private_address_among_public_ones_refuses_the_name(fetch, server, answer):
    with pytest.raises(AddressNotAllowed):
        fetch(f"https://two.example:{server.port}/", policy=Policy(resolve=lambda host, port: answer))
    assert server.connections == 0


@pytest.mark.threat("E02")
def test_the_connection_goes_to_the_address_that_was_judged(fetch, server):
    asked = []

    def resolve(host, port):
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.9"]

    policy = Policy.parse([f"idp.localhost:{server.port}"], resolve=resolve)
    assert fetch(server.url(host="idp.localhost"), policy=policy) == (200, b"hello")
    assert asked == ["idp.localhost"]
    assert server.requests[0][2]["Host"] == f"idp.localhost:{server.port}"


def test_the_second_address_is_tried_when_nobody_listens_at_the_first(fetch, server):
    policy = Policy.parse([f"idp.localhost:{server.port}"], resolve=lambda host, port: ["::1", "127.0.0.1"])
    assert fetch(server.url(host="idp.localhost"), policy=policy) == (200, b"hello")


def test_an_entry_for_a_name_does_not_open_its_address(fetch, server):
    policy = Policy.parse([f"localhost:{server.port}"], resolve=lambda host, port: ["127.0.0.1"])
    assert fetch(server.url(host="localhost"), policy=policy) == (200, b"hello")
    with pytest.raises(AddressNotAllowed):
        fetch(server.url(), policy=policy)


@pytest.mark.threat("A12")
@pytest.mark.parametrize("url", ["http://idp.example/token", f"http://{PUBLIC}/"])
def test_plain_http_beyond_this_machine_is_refused_at_use(fetch, url):
    with pytest.raises(HTTPSRequired):
        fetch(url, policy=Policy(resolve=lambda host, port: [PUBLIC]))


@pytest.mark.threat("D05", "B10")
@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_the_secret_goes_nowhere_else(fetch, second_server, status):
    with running_server(redirect_to=second_server.url()) as first:
        policy = Policy.parse(first.open_for + second_server.open_for)
        with pytest.raises(RedirectRefused):
            fetch(first.url(f"/redirect/{status}"), policy=policy, method="POST", data=b"client_secret=s3")
    assert [data for *_, data in first.requests] == [b"client_secret=s3"]
    assert second_server.connections == 0


@pytest.mark.threat("D05")
def test_a_redirect_within_the_origin_is_refused_too(fetch, server):
    with pytest.raises(RedirectRefused):
        fetch(server.url("/redirect/307"), policy=Policy.parse(server.open_for))
    assert len(server.requests) == 1


@pytest.mark.threat("E05")
def test_proxy_variables_and_netrc_are_ignored(fetch, server, second_server, monkeypatch, tmp_path):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, second_server.url(""))
        monkeypatch.setenv(name.lower(), second_server.url(""))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login alice password {CANARY}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert fetch(server.url(), policy=Policy.parse(server.open_for)) == (200, b"hello")
    assert "Authorization" not in server.requests[0][2]
    assert second_server.connections == 0


@pytest.mark.threat("B09")
@pytest.mark.parametrize("path", ["/drip_body", "/drip_headers", "/silence"])
def test_a_server_that_never_finishes_is_given_up_in_time(fetch, server, path):
    started = time.monotonic()
    with pytest.raises(TimedOut):
        fetch(server.url(path), policy=Policy.parse(server.open_for), seconds=0.4)
    assert time.monotonic() - started < 1.5


@pytest.mark.threat("B09")
def test_a_name_server_that_hangs_counts_towards_the_limit(limited_fetch):
    def slow(host, port):
        time.sleep(1)
        return [PUBLIC]

    started = time.monotonic()
    with pytest.raises(TimedOut):
        limited_fetch("https://slow.example/", policy=Policy(resolve=slow), seconds=0.2)
    assert time.monotonic() - started < 0.9


def test_an_answer_over_the_limit_is_cut(limited_fetch, server):
    policy = Policy.parse(server.open_for)
    assert limited_fetch(server.url("/big/1000"), policy=policy, max_bytes=1000)[0] == 200
    with pytest.raises(AnswerTooLarge):
        limited_fetch(server.url("/big/1001"), policy=policy, max_bytes=1000)


def test_a_compressed_answer_cannot_hide_its_size(limited_fetch, server):
    with pytest.raises(AnswerTooLarge):
        limited_fetch(server.url("/bomb/5000000"), policy=Policy.parse(server.open_for), max_bytes=100_000)


def test_the_data_plane_hands_over_compressed_bytes_as_they_came(server):
    _, body = fetch_http1(server.url("/bomb/1000"), policy=Policy.parse(server.open_for))
    assert body[:2] == b"\x1f\x8b"


def test_nobody_listening_and_no_such_name_read_alike(fetch, server):
    def nowhere(host, port):
        raise OSError("nxdomain")

    port = server.port
    with running_server() as gone:
        port = gone.port
    with pytest.raises(ConnectFailed, match=r"^Could not reach 127\.0\.0\.1\.$"):
        fetch(f"http://127.0.0.1:{port}/", policy=Policy.parse(["127.0.0.1"]))
    with pytest.raises(ConnectFailed, match=r"^Could not reach nowhere\.example\.$"):
        fetch("https://nowhere.example/", policy=Policy(resolve=nowhere))


@pytest.mark.parametrize("path", ["/redirect/302", "/drip_body", "/big/2000", "/closed"])
def test_no_error_shows_path_query_header_or_body(fetch, server, path):
    port = 1 if path == "/closed" else server.port
    max_bytes = 10 if path == "/big/2000" else 1_000_000
    url = f"http://127.0.0.1:{port}{path}?code={CANARY}"
    try:
        fetch(
            url,
            policy=Policy.parse(["127.0.0.1"]),
            method="POST",
            data=f"refresh_token={CANARY}".encode(),
            headers={"Authorization": f"Bearer {CANARY}"},
            seconds=0.3,
            max_bytes=max_bytes,
        )
        told = "the data plane has no size limit"
    except OutboundError as error:
        told = "".join(traceback.format_exception(error)) + repr(error) + str(error)
    assert CANARY not in told
    assert url not in told


@pytest.mark.parametrize("url", [f"https://u:{CANARY}@127.0.0.1/", f"https://10.0.0.1/{CANARY}", f"http:{CANARY}"])
def test_no_refusal_shows_the_url(url):
    with pytest.raises(OutboundError) as caught:
        check_url(url, policy=Policy())
    assert CANARY not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)
