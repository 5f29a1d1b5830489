import asyncio
from http.cookies import SimpleCookie

import pytest
from axes.helpers import get_lockout_response
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client, RequestFactory

from clients import throttle
from clients.session_store import SessionStore
from tests.factories import PASSWORD

WRONG = "not the password"


def sign_in(
    browser: Client, username: str, password: str = PASSWORD, *, address: str = "192.0.2.1", **extra: str
) -> object:
    """Go through the form as a browser does: load the page, send the token back."""
    browser.get("/sign-in/", REMOTE_ADDR=address)
    token = browser.cookies["aigw_csrf"].value
    form = {"username": username, "password": password, "csrfmiddlewaretoken": token, **extra}
    headers = {"referer": "https://gateway.test/sign-in/"}
    return browser.post("/sign-in/", form, headers=headers, REMOTE_ADDR=address)


def sign_out(browser: Client) -> object:
    """Press the button in the account menu."""
    form = {"csrfmiddlewaretoken": browser.cookies["aigw_csrf"].value}
    return browser.post("/sign-out/", form, headers={"referer": "https://gateway.test/connections/"})


def cookie_of(browser: Client) -> str:
    """Return the session cookie's value."""
    return browser.cookies["aigw_session"].value


def with_cookie(browser: Client, value: str) -> Client:
    """Return the browser after someone put a session cookie into it."""
    browser.cookies = SimpleCookie({"aigw_session": value})
    return browser


@pytest.mark.parametrize("username", ["alice", "nobody"])
def test_a_wrong_password_says_the_same_for_any_name(browser: Client, alice: User, username: str) -> None:
    response = sign_in(browser, username, WRONG)
    assert response.status_code == 200
    page = response.content.decode()
    assert "Username and password do not fit together" in page
    assert 'role="alert"' in page
    assert WRONG not in page


def test_an_inactive_user_stays_outside(browser: Client, alice: User) -> None:
    User.objects.update(is_active=False)
    assert "do not fit together" in sign_in(browser, "alice").content.decode()


def test_an_empty_field_is_named_and_is_not_a_guess(browser: Client, db: None) -> None:
    page = sign_in(browser, "alice", "").content.decode()
    assert "Type your password." in page
    assert throttle._failures == {}


def test_signing_in_without_the_forms_token_is_refused(browser: Client, alice: User) -> None:
    response = browser.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    assert response.status_code == 403
    assert "form is out of date" in response.content.decode()


def test_a_stranger_is_sent_to_sign_in_and_back(browser: Client, alice: User) -> None:
    asked = browser.get("/connections/?page=2")
    assert asked["Location"] == "/sign-in/?next=/connections/%3Fpage%3D2"
    assert sign_in(browser, "alice", next="/connections/?page=2")["Location"] == "/connections/?page=2"


@pytest.mark.threat("A11")
@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "///evil.example",
        "https:evil",
        "https://evil.example/",
        "http:///evil.example",
        "\\\\evil",
        "/\\evil.example",
        "javascript:alert(1)",
        " javascript:alert(1)",
        "data:text/html,x",
        "evil",
        "/sign-in/?next=/sign-in/",
        "",
    ],
)
def test_sign_in_goes_nowhere_but_to_this_host(browser: Client, alice: User, target: str) -> None:
    assert target == "" or f'value="{target}"' not in browser.get("/sign-in/", {"next": target}).content.decode()
    assert sign_in(browser, "alice", next=target)["Location"] == "/connections/"
    # Signed in by now: the page passes on at once, by the same rule.
    assert browser.get("/sign-in/", {"next": target})["Location"] == "/connections/"


@pytest.mark.threat("A11")
@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example/"])
def test_sign_out_goes_nowhere_but_to_this_host(browser: Client, alice: User, target: str) -> None:
    sign_in(browser, "alice")
    token = browser.cookies["aigw_csrf"].value
    form = {"csrfmiddlewaretoken": token, "next": target}
    response = browser.post("/sign-out/", form, headers={"referer": "https://gateway.test/"})
    assert response["Location"] in {"/sign-in/", "/sign-out/"}


@pytest.mark.threat("F14")
def test_the_session_key_changes_at_sign_in(browser: Client, alice: User) -> None:
    planted = Client().session
    planted["planted"] = True
    planted.save()
    with_cookie(browser, planted.session_key)
    sign_in(browser, "alice")
    assert cookie_of(browser) != planted.session_key
    stranger = with_cookie(Client(SERVER_NAME="gateway.test"), planted.session_key)
    assert stranger.get("/connections/").status_code == 302


@pytest.mark.threat("F14")
def test_an_old_cookie_is_dead_after_sign_out(browser: Client, alice: User) -> None:
    sign_in(browser, "alice")
    stolen = cookie_of(browser)
    assert with_cookie(Client(SERVER_NAME="gateway.test"), stolen).get("/connections/").status_code == 200
    assert sign_out(browser)["Location"] == "/sign-in/"
    assert with_cookie(Client(SERVER_NAME="gateway.test"), stolen).get("/connections/").status_code == 302


@pytest.mark.threat("F14")
def test_every_cookie_is_dead_after_the_password_changed(browser: Client, alice: User) -> None:
    sign_in(browser, "alice")
    alice.set_password("another password altogether")
    alice.save()
    assert browser.get("/connections/").status_code == 302


@pytest.mark.threat("F14")
def test_cookies_are_closed_to_scripts_and_other_sites(browser: Client, alice: User) -> None:
    cookies = sign_in(browser, "alice").cookies
    assert set(cookies) == {"aigw_session", "aigw_csrf"}
    for cookie in cookies.values():
        assert cookie["httponly"]
        assert cookie["secure"]  # the public address of these tests is https
        assert cookie["samesite"] == "Lax"


def test_signing_out_by_a_link_is_not_possible(browser: Client, alice: User) -> None:
    sign_in(browser, "alice")
    assert browser.get("/sign-out/").status_code == 405
    assert browser.get("/connections/").status_code == 200


def lock_alice_out(browser: Client, address: str) -> object:
    """Try five wrong passwords."""
    for _ in range(5):
        response = sign_in(browser, "alice", WRONG, address=address)
    return response


@pytest.mark.threat("F08")
def test_five_wrong_passwords_lock_the_account_for_that_address(browser: Client, alice: User) -> None:
    response = lock_alice_out(browser, "192.0.2.1")
    assert response.status_code == 429
    assert response["Retry-After"] == "900"
    assert "Wait 15 minutes" in response.content.decode()
    assert sign_in(browser, "alice", address="192.0.2.1").status_code == 429


@pytest.mark.threat("F08")
def test_the_right_password_from_another_address_still_works(browser: Client, alice: User) -> None:
    lock_alice_out(browser, "192.0.2.1")
    assert sign_in(browser, "alice", address="192.0.2.2").status_code == 302


@pytest.mark.threat("F08")
def test_another_account_at_the_locked_address_still_works(browser: Client, alice: User, bob: User) -> None:
    lock_alice_out(browser, "192.0.2.1")
    assert sign_in(browser, "bob", address="192.0.2.1").status_code == 302


@pytest.mark.threat("F08")
def test_a_forged_forwarded_address_is_not_counted(browser: Client, alice: User) -> None:
    for attempt in range(5):
        browser.defaults["HTTP_X_FORWARDED_FOR"] = f"203.0.113.{attempt}"
        response = sign_in(browser, "alice", WRONG)
    assert response.status_code == 429


@pytest.mark.threat("F08")
def test_one_address_may_not_go_through_all_accounts(browser: Client, alice: User) -> None:
    browser.get("/sign-in/")
    form = {"csrfmiddlewaretoken": browser.cookies["aigw_csrf"].value, "password": WRONG}
    headers = {"referer": "https://gateway.test/sign-in/"}
    answers = [
        browser.post("/sign-in/", {**form, "username": f"guess-{n}"}, headers=headers, REMOTE_ADDR="192.0.2.9")
        for n in range(51)
    ]
    assert [answer.status_code for answer in answers[:50]] == [200] * 50
    assert answers[50].status_code == 429
    assert 0 < int(answers[50]["Retry-After"]) <= 60
    assert sign_in(browser, "alice", address="192.0.2.10").status_code == 302


@pytest.mark.threat("F08")
def test_the_lock_is_told_the_same_under_asgi(rf: RequestFactory, db: None) -> None:
    """There django-axes leaves out the response, so the credentials come in its place."""
    request = rf.post("/sign-in/", {"username": "alice"})
    response = get_lockout_response(request, {"username": "alice"})
    assert (response.status_code, response["Retry-After"]) == (429, "900")


def test_a_locked_out_name_is_shown_escaped(browser: Client, db: None) -> None:
    for _ in range(5):
        response = sign_in(browser, "<script>alert(1)</script>", WRONG)
    assert response.status_code == 429
    assert b"<script" not in response.content


def test_the_record_of_a_wrong_password_holds_no_secret(browser: Client, alice: User) -> None:
    sign_in(browser, "alice", "c4nary-password", next="/oauth/v1/authorize?ticket=c4nary-ticket")
    (attempt,) = AccessAttempt.objects.all()
    kept = " ".join(str(value) for value in vars(attempt).values())
    assert "c4nary" not in kept
    assert attempt.ip_address == "192.0.2.1"


@pytest.mark.threat("C01")
def test_the_database_does_not_hold_the_cookie(browser: Client, alice: User) -> None:
    sign_in(browser, "alice")
    cookie, [row] = cookie_of(browser), Session.objects.all()
    assert cookie not in (row.session_key, row.session_data, str(row.get_decoded()))
    thief = with_cookie(Client(SERVER_NAME="gateway.test"), row.session_key)
    assert thief.get("/connections/").status_code == 302, "what the database holds signs nobody in"
    sign_out(browser)
    assert not Session.objects.filter(pk=row.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_the_async_session_is_the_same(alice: User) -> None:
    async def walk() -> None:
        made = SessionStore()
        await made.aset("seen", 1)
        await made.asave()
        assert made.session_key is not None
        assert await SessionStore().aexists(made.session_key)
        again = SessionStore(made.session_key)
        assert await again.aget("seen") == 1
        await again.adelete()
        assert not await again.aexists(made.session_key)
        assert await SessionStore(made.session_key).aload() == {}

    asyncio.run(walk())
