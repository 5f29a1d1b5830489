"""Exchange and refresh against a provider that misbehaves in every way that one has been seen to."""

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from providers import answers, oauth2
from tests.fakes.token_endpoint import TokenEndpoint

GOOD = {"access_token": "at-1", "refresh_token": "rt-1", "token_type": "Bearer", "expires_in": 3600}


def exchange(client):
    return oauth2.exchange_code(client, code="the-code", code_verifier="the-verifier")


def refresh(client, **arguments):
    return oauth2.refresh(client, refresh_token="old-refresh", **arguments)


CALLS = pytest.mark.parametrize("call", [exchange, refresh])


# --- Requests ---------------------------------------------------------------------------------------


@pytest.mark.threat("A21")
@pytest.mark.spec("RFC 6749", "4.1.3")
def test_a_code_is_exchanged_with_verifier_redirect_and_resource(far_side, make_client):
    answer = exchange(make_client(resource="https://mcp.example/mcp"))
    [request] = far_side.token_requests
    assert request.form == {
        "grant_type": "authorization_code",
        "code": "the-code",
        "code_verifier": "the-verifier",
        "redirect_uri": "https://gateway.test/oauth/v1/callback/github",
        "resource": "https://mcp.example/mcp",
    }
    assert request.headers["accept"] == "application/json"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert (answer.access_token, answer.refresh_token, answer.expires_in) == ("access-1", "refresh-1", 3600)


def test_a_code_without_pkce_is_exchanged_without_a_verifier(far_side, client):
    oauth2.exchange_code(client, code="the-code", code_verifier=None)
    assert "code_verifier" not in far_side.token_requests[0].form


@pytest.mark.threat("A21")
@pytest.mark.spec("RFC 6749", "6")
def test_a_refresh_sends_token_and_resource_and_scopes_only_when_told(far_side, make_client):
    client = make_client(resource="https://mcp.example/mcp", scope_delimiter=",")
    refresh(client)
    refresh(client, scopes=["a", "b"])
    first, second = (request.form for request in far_side.token_requests)
    assert first == {
        "grant_type": "refresh_token",
        "refresh_token": "old-refresh",
        "resource": "https://mcp.example/mcp",
    }
    assert second["scope"] == "a,b"


# --- Answers that are no answer ---------------------------------------------------------------------


@CALLS
@pytest.mark.threat("B11")
@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", "not_json"),
        (b"<html>access_token=at-1</html>", "not_json"),
        (b"", "not_json"),
        (b"access_token", "not_json"),
        (b"{", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'{"access_token":' + b"9" * 5000 + b"}", "not_json"),
        (b'["at-1"]', "not_an_object"),
        (b'"at-1"', "not_an_object"),
        (b"null", "not_an_object"),
        (b"17", "not_an_object"),
        (b'{"access_token": "at-\xff"}', "not_utf8"),
        (json.dumps(GOOD).encode("utf-16"), "not_utf8"),
        (b"{}", "no_access_token"),
        (b'{"access_token": null}', "no_access_token"),
        (b'{"access_token": ""}', "no_access_token"),
        (b"token_type=bearer", "no_access_token"),
        (b'{"access_token": 17}', "access_token"),
        (b'{"access_token": ["at-1"]}', "access_token"),
        (b'{"access_token": {"a": 1}}', "access_token"),
        (b'{"access_token": "at-1", "refresh_token": 17}', "refresh_token"),
    ],
    ids=range(21),
)
def test_an_answer_that_is_none_is_a_typed_error(far_side, client, call, body, why):
    far_side.will(body=body, headers={"Content-Type": "application/json"})
    with pytest.raises(oauth2.BadAnswer) as caught:
        call(client)
    assert caught.value.why == why


@pytest.mark.parametrize(
    "token", ["at\r\nX-Evil: 1", "at\n", "at\x00", "at\x7f", "a t", "tökén", "\ud800", "\u2028", "x" * 40_000]
)
def test_an_access_token_that_would_break_a_header_is_refused(far_side, client, token):
    far_side.will(fields={**GOOD, "access_token": token})
    with pytest.raises(oauth2.BadAnswer) as caught:
        exchange(client)
    assert caught.value.why == "access_token"


@pytest.mark.parametrize("token", ["rt\r\n", "rt\x00", "rt\u2028", "x" * 40_000])
def test_a_refresh_token_with_control_characters_is_refused(far_side, client, token):
    far_side.will(fields={**GOOD, "refresh_token": token})
    with pytest.raises(oauth2.BadAnswer) as caught:
        exchange(client)
    assert caught.value.why == "refresh_token"


@CALLS
@pytest.mark.threat("B11")
@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
def test_a_token_from_a_failing_server_is_not_taken(far_side, client, call, status):
    far_side.will(status=status, fields=GOOD)
    with pytest.raises(oauth2.ProviderUnavailable) as caught:
        call(client)
    assert caught.value.why == f"status_{status}"


@pytest.mark.threat("B11")
@pytest.mark.parametrize("status", [400, 401, 403, 404, 304])
def test_a_token_from_a_refusal_is_not_taken_either(far_side, client, status):
    far_side.will(status=status, fields=GOOD)
    with pytest.raises(oauth2.BadAnswer) as caught:
        refresh(client)
    assert caught.value.why == f"status_{status}"


def test_a_failing_server_that_says_invalid_grant_ends_nothing(far_side, client):
    far_side.will(status=500, fields={"error": "invalid_grant"})
    with pytest.raises(oauth2.ProviderUnavailable):
        refresh(client)


@pytest.mark.spec("RFC 6749", "7.1")
@pytest.mark.parametrize("token_type", ["mac", "DPoP", "N_A", 7, ["bearer"]])
def test_a_token_that_is_no_bearer_token_is_refused(far_side, client, token_type):
    far_side.will(fields={**GOOD, "token_type": token_type})
    with pytest.raises(oauth2.BadAnswer) as caught:
        exchange(client)
    assert caught.value.why == "token_type"


def test_an_answer_over_the_limit_is_refused(far_side, client):
    far_side.will(fields={**GOOD, "padding": "x" * 300_000})
    with pytest.raises(oauth2.BadAnswer) as caught:
        exchange(client)
    assert caught.value.why == "too_large"


# --- Answers that are one ---------------------------------------------------------------------------


@pytest.mark.parametrize("token_type", ["bearer", "BEARER", "", None])
def test_bearer_is_bearer_in_any_case_and_when_it_was_forgotten(far_side, client, token_type):
    far_side.will(fields={**GOOD, "token_type": token_type})
    assert exchange(client).access_token == "at-1"


@pytest.mark.threat("B11")
@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("3600", 3600),
        ("3600.0", 3600),
        (3600.5, 3600.5),
        (None, None),
        (-1, None),
        ("-1", None),
        (0, None),
        (1e99, answers.MAX_LIFETIME_SECONDS),
        (10**400, answers.MAX_LIFETIME_SECONDS),
        (float("nan"), None),
        (float("inf"), None),
        ("soon", None),
        ("1e99", None),
        ("٣", None),
        (True, None),
        ([3600], None),
        ({}, None),
    ],
    ids=str,
)
def test_a_lifetime_is_seconds_or_unknown(far_side, client, said, meant):
    far_side.will(fields={**GOOD, "expires_in": said, "refresh_token_expires_in": said})
    answer = exchange(client)
    assert answer.access_token == "at-1"
    assert answer.expires_in == answer.refresh_token_expires_in == meant


def test_no_lifetime_at_all_is_unknown(far_side, client):
    far_side.will(fields={"access_token": "at-1", "token_type": "bearer"})
    answer = exchange(client)
    assert (answer.expires_in, answer.refresh_token_expires_in, answer.scopes) == (None, None, None)


@pytest.mark.threat("B03")
@pytest.mark.parametrize("fields", [{}, {"refresh_token": None}, {"refresh_token": ""}])
def test_no_new_refresh_token_is_none(far_side, client, fields):
    far_side.will(fields={"access_token": "at-2", **fields})
    assert refresh(client).refresh_token is None


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "text/html"])
def test_a_form_is_read_as_well(far_side, client, content_type):
    form = {"access_token": "at+/=1", "expires_in": "28800", "scope": "repo,user", "token_type": "bearer"}
    far_side.will(form=form, headers={"Content-Type": content_type})
    answer = exchange(client)
    assert (answer.access_token, answer.expires_in, answer.scopes) == ("at+/=1", 28800, ["repo", "user"])


def test_json_is_read_whatever_its_content_type_and_with_a_byte_order_mark(far_side, client):
    far_side.will(body=b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), headers={"Content-Type": "text/html"})
    assert exchange(client).access_token == "at-1"


@pytest.mark.threat("A16")
@pytest.mark.spec("RFC 6749", "5.1")
@pytest.mark.parametrize(
    ("delimiter", "said", "meant"),
    [
        (" ", "read write", ["read", "write"]),
        (" ", "read,write", ["read", "write"]),
        (",", "read write", ["read", "write"]),
        (",", "read, write,,read", ["read", "write"]),
        ("|", "read|write", ["read", "write"]),
        (" ", ["read", "write", 7], ["read", "write"]),
        (" ", 'read wr"ite \x00', ["read"]),
        (" ", "", None),
        (" ", None, None),
        (" ", 7, None),
    ],
)
def test_scopes_are_what_the_provider_said_and_a_change_is_no_error(far_side, make_client, delimiter, said, meant):
    far_side.will(fields={**GOOD, "scope": said})
    assert refresh(make_client(scope_delimiter=delimiter), scopes=["other"]).scopes == meant


def test_an_odd_id_token_does_not_cost_the_tokens(far_side, client):
    far_side.will(fields={**GOOD, "id_token": {"a": 1}})
    answer = exchange(client)
    assert (answer.access_token, answer.id_token) == ("at-1", None)


# --- Refusals ---------------------------------------------------------------------------------------


@CALLS
@pytest.mark.spec("RFC 6749", "5.2")
@pytest.mark.parametrize(
    ("status", "error", "is_terminal"),
    [
        (400, "invalid_grant", True),
        (200, "bad_refresh_token", True),
        (200, "bad_verification_code", True),
        (200, "token_revoked", True),
        (200, "invalid_refresh_token", True),
        (401, "invalid_client", False),
        (400, "invalid_scope", False),
        (400, "invalid_target", False),
        (200, "incorrect_client_credentials", False),
    ],
)
def test_a_refusal_carries_its_code_and_whether_the_grant_is_dead(far_side, client, call, status, error, is_terminal):
    far_side.will(status=status, fields={"error": error, "error_description": "secret text", **GOOD})
    with pytest.raises(oauth2.ProviderRefused) as caught:
        call(client)
    assert (caught.value.error, caught.value.is_terminal) == (error, is_terminal)
    assert "secret text" not in str(caught.value)


@pytest.mark.parametrize("error", ["the code abc was bad", "at-7f3a", 17, ["invalid_grant"], {"code": 4}, "a" * 65])
def test_a_code_that_is_none_is_not_repeated(far_side, client, error):
    far_side.will(status=400, fields={"error": error})
    with pytest.raises(oauth2.ProviderRefused) as caught:
        refresh(client)
    assert caught.value.error == "unrecognised"
    assert not caught.value.is_terminal


def test_a_refusal_as_a_form_is_read_as_well(far_side, client):
    far_side.will(form={"error": "bad_refresh_token", "error_description": "no"})
    with pytest.raises(oauth2.ProviderRefused) as caught:
        refresh(client)
    assert caught.value.is_terminal


@pytest.mark.threat("B08")
@pytest.mark.parametrize(("status", "why"), [(429, "rate_limited"), (503, "status_503")])
def test_a_provider_says_how_long_to_wait(far_side, client, status, why):
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    for header in ("30", in_a_minute):
        far_side.will(status=status, headers={"Retry-After": header})
    for expected in (30, 60):
        with pytest.raises(oauth2.ProviderUnavailable) as caught:
            refresh(client)
        assert caught.value.why == why
        assert caught.value.retry_after_seconds == pytest.approx(expected, abs=5)


@pytest.mark.parametrize("error", ["temporarily_unavailable", "slow_down", "server_error"])
def test_not_now_is_no_refusal_even_with_a_400(far_side, client, error):
    far_side.will(status=400, fields={"error": error}, headers={"Retry-After": "7"})
    with pytest.raises(oauth2.ProviderUnavailable) as caught:
        refresh(client)
    assert caught.value.retry_after_seconds == 7


@pytest.mark.spec("RFC 9110", "10.2.3")
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("nan", None),
        ("9" * 400, None),
        ("0", 0),
        ("1.5", 1.5),
        ("999999999", 86_400),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Sun, 06 Nov 1994 08:50:37 -0000", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        ("Fri, 99 Dec 9999 99:99:99 GMT", None),
        ("Wed, 01 Jan 2025 00:02:00 GMT", 120),
    ],
)
def test_retry_after_is_read_within_reason(header, seconds):
    now = datetime(2025, 1, 1, tzinfo=UTC)
    assert answers.retry_after_seconds(header, now=now) == seconds


# --- Transport --------------------------------------------------------------------------------------


@CALLS
@pytest.mark.threat("B10")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_its_target_gets_nothing(far_side, client, call, status):
    with TokenEndpoint() as elsewhere:
        far_side.will(status=status, headers={"Location": elsewhere.url()}, fields=GOOD)
        with pytest.raises(oauth2.BadAnswer) as caught:
            call(client)
        assert caught.value.why == "redirect"
        assert elsewhere.requests == []
    assert len(far_side.requests) == 1


@CALLS
@pytest.mark.threat("B09")
def test_a_silent_provider_is_given_up(far_side, client, call, settings):
    settings.AIGW_TOKEN_ENDPOINT_TIMEOUT_SECONDS = 0.2
    far_side.will(after_seconds=5, fields=GOOD)
    started = time.monotonic()
    with pytest.raises(oauth2.ProviderUnavailable) as caught:
        call(client)
    assert caught.value.why == "timeout"
    assert time.monotonic() - started < 2


@pytest.mark.threat("B07")
def test_a_connection_that_breaks_is_a_network_error(far_side, client):
    far_side.will(hang_up=True)
    with pytest.raises(oauth2.ProviderUnavailable) as caught:
        refresh(client)
    assert caught.value.why == "network"


def test_nobody_listening_is_a_network_error(make_client):
    with TokenEndpoint() as gone:
        url = gone.url()
    with pytest.raises(oauth2.ProviderUnavailable) as caught:
        refresh(make_client(token_endpoint=url))
    assert caught.value.why == "network"


@pytest.mark.threat("E01")
@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://169.254.169.254/token", "address_not_allowed"),
        ("https://10.0.0.1/token", "address_not_allowed"),
        ("http://idp.example/token", "https_required"),
        ("ftp://idp.example/token", "invalid"),
        ("https:///token", "invalid"),
    ],
)
def test_an_address_that_may_not_be_reached_is_not(make_client, url, why):
    with pytest.raises(oauth2.ProviderUnavailable) as caught:
        refresh(make_client(token_endpoint=url))
    assert caught.value.why == why
    assert url not in str(caught.value)
