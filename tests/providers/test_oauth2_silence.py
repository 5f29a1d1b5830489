"""No code, token or secret reaches a log, an exception, a traceback or a repr, at any level."""

import logging
import traceback

import pytest
from requests_oauthlib import OAuth2Session

from providers import oauth2
from providers.wire import WireSession

CANARY = "c4n4ry-"
OUT = {"code": f"{CANARY}code", "code_verifier": f"{CANARY}verifier"}
ANSWER = {
    "access_token": f"{CANARY}access",
    "refresh_token": f"{CANARY}refresh",
    "id_token": f"{CANARY}id",
    "token_type": "bearer",
}
BAD = {
    "html": {"body": f"<html>{CANARY}".encode()},
    "form": {"body": f"token_type=mac&access_token={CANARY}".encode()},
    "invalid_utf8": {"body": f"{CANARY}\xff".encode("latin-1")},
    "array": {"fields": [ANSWER]},
    "control": {"fields": {**ANSWER, "access_token": f"{CANARY}\r\n"}},
    "token_type": {"fields": {**ANSWER, "token_type": CANARY}},
    "500": {"status": 500, "fields": ANSWER},
    "400": {"status": 400, "fields": {"error": CANARY, "error_description": CANARY}},
    "redirect": {"status": 307, "headers": {"Location": f"https://evil.example/{CANARY}"}},
    "hang_up": {"hang_up": True},
    "timeout": {"after_seconds": 5},
    "too_large": {"body": CANARY.encode() * 50_000},
    "broken_header": {"headers": {"Content-Length": CANARY}, "body": b"{}"},
}


@pytest.fixture
def canary_client(far_side, make_client):
    """A client whose secret is a canary."""
    device = far_side.url("/device")
    return make_client(
        client_secret=f"{CANARY}secret", auth_method="client_secret_post", device_authorization_endpoint=device
    )


@pytest.fixture
def everything_logged(caplog):
    """Every logger at DEBUG, as someone might set it while looking for a fault."""
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    yield caplog
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def conversation(client):
    """Run every call of the wire."""
    yield lambda: oauth2.exchange_code(client, **OUT)
    yield lambda: oauth2.refresh(client, refresh_token=f"{CANARY}old")
    yield lambda: oauth2.revoke(client, token=f"{CANARY}old", token_type_hint="refresh_token")
    yield lambda: oauth2.userinfo_account(client, f"{CANARY}access", id_token=f"{CANARY}id")
    yield lambda: oauth2.poll_device(client, device_code=f"{CANARY}device")
    yield lambda: oauth2.start_device(client, scopes=["read"])


def chain(error):
    """The error, and whatever it drags along."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@pytest.mark.threat("H01")
def test_a_good_conversation_leaves_nothing_in_the_logs(far_side, canary_client, everything_logged):
    far_side.will(times=3, fields=ANSWER)
    uri = {"verification_uri": "https://idp.example/device", "user_code": "WDJB-MJHT", "expires_in": 900}
    far_side.will(path="/device", fields={"device_code": f"{CANARY}device", **uri})
    for call in conversation(canary_client):
        assert CANARY not in repr(call())
    assert CANARY in far_side.requests[0].body.decode()
    assert everything_logged.records, "the loggers were not on"
    assert CANARY not in everything_logged.text


@pytest.mark.threat("B11", "H01", "H02")
@pytest.mark.parametrize("answer", BAD.values(), ids=BAD)
def test_a_bad_conversation_leaves_nothing_anywhere(far_side, canary_client, everything_logged, settings, answer):
    settings.AIGW_TOKEN_ENDPOINT_TIMEOUT_SECONDS = 0.3
    for path in ("/token", "/revoke", "/userinfo", "/device"):
        far_side.will(path=path, times=None, **answer)
    failures = []
    for call in conversation(canary_client):
        try:
            call()
        except oauth2.OAuthError as error:
            failures.append(error)
            logging.getLogger("tests").exception("failed")
    assert len(failures) >= 2
    for failure in failures:
        assert CANARY not in "".join(traceback.format_exception(failure))
        assert all(CANARY not in f"{link} {link!r} {vars(link)}" for link in chain(failure))
    assert CANARY not in everything_logged.text


@pytest.mark.threat("H01")
def test_requests_oauthlib_is_silent_even_when_used_directly(everything_logged):
    session = OAuth2Session("client", token={"access_token": f"{CANARY}access"})
    session.authorization_url("https://idp.example/authorize", state=None)
    session.mount("https://", _Refusing())
    with pytest.raises(AssertionError, match="mounted"):
        session.get("https://idp.example/")
    assert CANARY not in everything_logged.text
    assert not [record for record in everything_logged.records if record.name.startswith("requests_oauthlib")]


def test_what_holds_a_secret_does_not_show_it(canary_client):
    answer = oauth2.TokenAnswer(CANARY, CANARY, 1.0, None, ["read"], CANARY)
    assert CANARY not in f"{answer!r} {answer} {canary_client!r} {canary_client} {WireSession()!r}"
    assert "github" in repr(canary_client)


class _Refusing:
    """An adapter that stops before the network."""

    def send(self, *_, **__):
        raise AssertionError("mounted")

    def close(self):
        pass
