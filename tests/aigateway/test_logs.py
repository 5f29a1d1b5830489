"""Logs: one JSON line per event, and nothing in it that looks like a credential."""

import json
import logging
import sys

import pytest

from aigateway import logs

CANARY = "cAnArY0123456789abcdef"


def line(message: str, *arguments: object, exc_info: object = None, **extra: object) -> str:
    """Format one event as the gateway does."""
    record = logging.LogRecord("tests", logging.ERROR, __file__, 1, message, arguments, exc_info)  # type: ignore[arg-type]
    record.__dict__.update(extra)
    return logs.json_formatter().format(record)


@pytest.mark.threat("H02")
def test_a_traceback_shows_no_local_variable() -> None:
    access_token = CANARY
    try:
        raise RuntimeError("exchange failed") from ValueError(f"access_token={access_token}")
    except RuntimeError:
        text = line("call failed", exc_info=sys.exc_info())
    assert "exchange failed" in text
    assert "test_a_traceback_shows_no_local_variable" in text
    assert CANARY not in text


@pytest.mark.threat("H01", "H03")
@pytest.mark.parametrize(
    "message",
    [
        f"GET /oauth/v1/callback/github?code={CANARY}&state={CANARY}",
        f"GET /oauth/v1/authorize?provider_name=github&ticket={CANARY}",
        f"https://user:{CANARY}@auth.example.com/token",
        f"redis://:{CANARY}@127.0.0.1:6379/0",
        f"Authorization: Bearer {CANARY}",
        f"authorization: basic {CANARY}==",
        f'{{"access_token": "{CANARY}", "refresh_token": "{CANARY}"}}',
        f"{{'client_secret': '{CANARY}', 'code_verifier': '{CANARY}'}}",
        f"grant_type=device_code&device_code={CANARY}&user_code={CANARY}",
        f"id_token={CANARY}; token={CANARY} password={CANARY}",
        f"GET /page?token={CANARY}",
        f"the token aigw_{CANARY} was used",
    ],
)
def test_what_looks_like_a_credential_is_redacted(message: str) -> None:
    for text in (line(message), line("%s", message), line("event", detail=message)):
        assert CANARY not in text
        assert "[redacted]" in text


@pytest.mark.threat("H01")
@pytest.mark.parametrize("value", [{"access_token": CANARY}, [f"Bearer {CANARY}"], ("code=" + CANARY,), object()])
def test_values_that_are_no_text_are_redacted_too(value: object) -> None:
    assert CANARY not in line("event", detail=value)


@pytest.mark.threat("H01")
@pytest.mark.parametrize("name", ["access_token", "client_secret", "ticket", "code_verifier"])
def test_a_field_named_for_a_credential_is_redacted_whatever_it_holds(name: str) -> None:
    assert CANARY not in line("event", **{name: CANARY})


def test_what_explains_is_kept() -> None:
    event = json.loads(line("refresh failed", provider="github", status=503))
    assert (event["event"], event["provider"], event["status"]) == ("refresh failed", "github", 503)


@pytest.mark.threat("H04")
def test_control_characters_stay_in_one_line() -> None:
    text = line("agent %s", 'Mozilla\n{"event": "forged"}\x1b[2J')
    assert text.count("\n") == 0
    assert "\x1b" not in text


@pytest.mark.threat("H03")
@pytest.mark.parametrize("name", ["httpx", "httpx2", "urllib3", "oauthlib", "requests_oauthlib", "aiohttp.access"])
def test_libraries_that_print_urls_and_tokens_are_quiet(name: str, settings: pytest.FixtureRequest) -> None:
    assert settings.LOGGING["loggers"][name]["level"] == "WARNING"  # type: ignore[attr-defined]
