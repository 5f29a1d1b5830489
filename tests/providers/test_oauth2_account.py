"""Which account a token belongs to: a label, and never an error."""

import base64
import json

import pytest

from providers import oauth2


def id_token(**claims):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    fields = {"aud": "gateway-client", "iss": "https://idp.example", "sub": "1", **claims}
    return f"{part({'alg': 'RS256'})}.{part(fields)}.c2lnbmF0dXJl"


def account(client, token=None):
    return oauth2.userinfo_account(client, "the-access-token", id_token=token)


@pytest.mark.spec("RFC 6750", "2.1")
def test_userinfo_is_asked_with_the_token_in_the_header(far_side, client):
    assert account(client) == "alice"
    [request] = far_side.requests
    assert (request.method, request.path, request.body) == ("GET", "/userinfo", b"")
    assert request.headers["authorization"] == "Bearer the-access-token"
    assert request.headers["accept"] == "application/json"


@pytest.mark.parametrize(
    ("claim", "said", "label"),
    [
        ("", {"sub": "9", "name": "Al", "login": "al", "email": "a@b.c", "preferred_username": "pal"}, "pal"),
        ("", {"sub": "9", "name": "Al", "login": "al", "email": "a@b.c"}, "a@b.c"),
        ("", {"sub": "9", "name": "Al", "login": "al"}, "al"),
        ("", {"sub": "9", "name": "Al"}, "Al"),
        ("", {"sub": "9"}, "9"),
        ("nick", {"sub": "9", "nick": "Ally"}, "Ally"),
        ("nick", {"sub": "9"}, "9"),
        ("id", {"id": 583231}, "583231"),
        ("id", {"id": 10**300}, None),
        ("id", {"id": True}, None),
        ("", {"email": "", "name": None, "login": ["x"]}, None),
        ("", {}, None),
    ],
)
def test_the_label_is_the_configured_claim_or_a_usual_one(far_side, make_client, claim, said, label):
    far_side.will(path="/userinfo", fields=said)
    assert account(make_client(account_claim=claim)) == label


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("al\r\nice\x1b[31m\x00", "al ice [31m"),
        ("alice\u202egnp.exe\u2028", "alice gnp.exe"),
        ("  al \t ice ", "al ice"),
        ("\ud800", None),
        ("\u200b", None),
        ("é" * 400, "é" * 320),
        ("Ünïcödé 名前", "Ünïcödé 名前"),
    ],
)
def test_the_label_is_one_printable_line(far_side, client, said, label):
    far_side.will(path="/userinfo", fields={"name": said})
    assert account(client) == label


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 401, "fields": {"error": "invalid_token"}},
        {"status": 500, "fields": {"sub": "alice"}},
        {"status": 302, "headers": {"Location": "https://evil.example/"}},
        {"status": 200, "body": b"<html>"},
        {"status": 200, "body": b"\xff"},
        {"status": 200, "fields": ["alice"]},
        {"status": 200, "body": b"x" * 300_000},
        {"hang_up": True},
        {"after_seconds": 5},
    ],
    ids=str,
)
def test_no_label_is_no_error(far_side, client, settings, answer):
    settings.AIGW_TOKEN_ENDPOINT_TIMEOUT_SECONDS = 0.3
    far_side.will(path="/userinfo", **answer)
    assert account(client) is None


@pytest.mark.spec("OIDC Core", "3.1.3.7")
def test_the_id_token_tells_when_userinfo_does_not(far_side, make_client):
    silent = make_client(userinfo_endpoint="", issuer="https://idp.example")
    assert account(silent, id_token(email="alice@example.com")) == "alice@example.com"
    assert account(silent, id_token(aud=["other", "gateway-client"], name="Al")) == "Al"
    assert far_side.requests == []


@pytest.mark.parametrize(
    "token",
    [
        None,
        "",
        "x",
        "a.b.c",
        "é.é.é",
        "e30.e30.",
        id_token(aud="someone-else"),
        id_token(aud=None),
        id_token(iss="https://evil.example"),
        id_token()[:-40],
    ],
)
def test_an_id_token_that_is_not_ours_or_not_readable_tells_nothing(make_client, token):
    assert account(make_client(userinfo_endpoint="", issuer="https://idp.example"), token) is None


@pytest.mark.spec("OIDC Core", "5.3.2")
def test_userinfo_about_someone_else_is_not_used(far_side, client):
    far_side.will(path="/userinfo", fields={"sub": "2", "name": "Mallory"})
    assert account(client, id_token(sub="1", name="Alice")) == "Alice"
