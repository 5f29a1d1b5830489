"""The page of one's own API tokens."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from audit.models import Event
from clients import tokens
from clients.models import ApiToken
from tests import factories

TOKEN = re.compile(r"aigw_[A-Za-z0-9_-]{43}")
FORM = {"name": "laptop", "lasts": "30"}
CURRENT, EMPTY = ' aria-current="page"', ""


@pytest.fixture
def alices(browser: Client, alice: User) -> Client:
    browser.force_login(alice)
    return browser


def page(client: Client, path: str = "/tokens/") -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def send(client: Client, path: str = "/tokens/", **fields: str) -> object:
    """Send a form of the page with its CSRF token."""
    client.get("/tokens/")
    form = {"csrfmiddlewaretoken": client.cookies["aigw_csrf"].value, **fields}
    return client.post(path, form, headers={"referer": f"https://gateway.test{path}"})


def test_a_token_is_shown_once_and_works(alices: Client, alice: User) -> None:
    answer = send(alices, **FORM)
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    found = TOKEN.findall(answer.content.decode())
    assert len(found) == 1
    row = tokens.recognise(found[0])
    assert row is not None
    assert (row.user, row.name) == (alice, "laptop")
    assert timedelta(days=29) < row.expires_at - timezone.now() <= timedelta(days=30)
    again = page(alices)
    assert not TOKEN.search(again)
    assert row.prefix in again
    assert row.digest not in again
    assert Event.objects.filter(action="api_token.created", actor="alice", target=row.prefix).exists()


def test_a_token_can_be_made_without_end(alices: Client) -> None:
    send(alices, name="server", lasts="never")
    assert ApiToken.objects.get().expires_at is None
    assert "no end" in page(alices)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "  ", "lasts": "30"}, "Say what the token is for."),
        ({"name": "a\nb", "lasts": "30"}, "cannot be printed"),
        ({"name": "x" * 101, "lasts": "30"}, "at most 100 characters"),
        ({"name": "laptop", "lasts": "99999"}, "not one of the available choices"),
        ({"name": "laptop"}, "Choose how long it lasts."),
    ],
)
def test_what_is_wrong_is_said_beside_the_field(alices: Client, fields: dict[str, str], said: str) -> None:
    answer = send(alices, **fields)
    assert answer.status_code == 400
    assert said in answer.content.decode()
    assert 'aria-invalid="true"' in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_the_list_says_when_each_was_used_and_ends(alices: Client, alice: User) -> None:
    now = timezone.now()
    tokens.create(alice, name="unused", expires_at=now + timedelta(days=400))
    ApiToken.objects.filter(pk=tokens.create(alice, name="busy")[0].pk).update(last_used_at=now - timedelta(minutes=5))
    tokens.create(alice, name="lapsed", expires_at=now - timedelta(days=1))
    tokens.revoke(tokens.create(alice, name="ended")[0], actor=alice)
    text = page(alices).replace("\xa0", " ")
    in_use, _, over = text.partition("No longer good")
    for words in ("unused", "not yet", "busy", "5 minutes ago", "no end", 'In use <span class="count">2</span>'):
        assert words in in_use
    for words in ("lapsed", "ran out", "ended", "revoked"):
        assert words in over
        assert f">{words}<" not in in_use


def test_revoking_asks_once_and_ends_the_token(alices: Client, alice: User) -> None:
    row, token = tokens.create(alice, name="laptop")
    path = f"/tokens/{row.uid}/revoke/"
    assert "Revoke laptop?" in page(alices, path)
    assert tokens.recognise(token), "a GET changes nothing"
    answer = send(alices, path)
    assert answer["Location"] == "/tokens/"
    assert tokens.recognise(token) is None
    assert "is revoked" in page(alices)
    assert alices.get(path).status_code == 404


@pytest.mark.threat("F05")
def test_another_persons_token_is_not_there(alices: Client, alice: User, bob: User) -> None:
    row, token = tokens.create(bob, name="bobs-laptop")
    assert "bobs-laptop" not in page(alices)
    assert alices.get(f"/tokens/{row.uid}/revoke/").status_code == 404
    assert send(alices, f"/tokens/{row.uid}/revoke/").status_code == 404
    assert tokens.recognise(token)


@pytest.mark.threat("A15", "F05")
def test_without_a_session_or_the_forms_token_nothing_happens(browser: Client, alice: User) -> None:
    row, token = tokens.create(alice, name="laptop")
    paths = ("/tokens/", f"/tokens/{row.uid}/revoke/")
    for path in paths:
        assert browser.get(path)["Location"] == f"/sign-in/?next={path}"
        bearer = {"authorization": f"Bearer {token}", "referer": f"https://gateway.test{path}"}
        assert Client().post(path, FORM, headers=bearer)["Location"].endswith(f"/sign-in/?next={path}")
    browser.force_login(alice)
    for path in paths:
        assert browser.post(path, FORM, headers={"referer": f"https://gateway.test{path}"}).status_code == 403
    assert tokens.recognise(token)
    assert ApiToken.objects.count() == 1


def test_many_tokens_come_in_pages_with_a_constant_number_of_queries(
    alices: Client, alice: User, django_assert_max_num_queries: object
) -> None:
    for number in range(120):
        factories.make_api_token(alice, f"number-{number}")
    page(alices)
    with django_assert_max_num_queries(10):  # type: ignore[operator]
        text = page(alices)
    assert "Page 1 of 3" in text
    assert text.count("<tr>") == 51
    assert "number-0<" in page(alices, "/tokens/?page=3")
    assert "Page 3 of 3" in page(alices, "/tokens/?page=99")


@pytest.mark.parametrize("path", ["/connections/", "/servers/", "/tokens/"])
def test_the_bar_is_the_same_on_every_page(alices: Client, path: str) -> None:
    text = page(alices, path)
    for href in ("/connections/", "/servers/", "/tokens/"):
        assert f'<a href="{href}"{CURRENT if href == path else EMPTY}>' in text
    assert ">Admin<" not in text
