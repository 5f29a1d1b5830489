"""The way back from the provider: state, session, issuer, exchange, and what is then stored (contract §7)."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from audit.models import Event
from connections import registry, trips
from connections.models import ConsentRequest
from providers import oauth2
from providers.models import OAuthProvider
from tests import factories
from tests.connections.consenting import (
    ACCESS_TOKEN,
    CODE,
    REFRESH_TOKEN,
    FakeProvider,
    come_back,
    connect,
    leave,
    offer_path,
)
from vault.models import PendingRevocation, VaultEntry
from vault.sealing import open_sealed


def refused(answer: Any, reason: str, status: int = 400) -> str:
    """Check that the answer is a refusal, kept out of Referer and caches, and audited; return the page."""
    assert answer.status_code == status
    assert answer["Referrer-Policy"] == "no-referrer"
    assert answer["Cache-Control"] == "no-store"
    event = Event.objects.filter(action="oauth.callback.refused").order_by("pk").last()
    assert event is not None
    assert (event.result, event.data["reason"]) == ("refused", reason)
    return str(answer.content.decode())


def told(browser: Client, answer: Any, reason: str) -> str:
    """Check that the trip ends on Connections, at an address without code or state; return what is said there, once."""
    assert answer.status_code == 302
    assert answer["Location"] == "/connections/"
    assert answer["Referrer-Policy"] == "no-referrer"
    assert answer["Cache-Control"] == "no-store"
    event = Event.objects.filter(action="oauth.callback.refused").order_by("pk").last()
    assert event is not None
    assert (event.result, event.data["reason"]) == ("refused", reason)
    text = str(browser.get("/connections/").content.decode())
    start = text.index('role="alert"')
    assert 'role="alert"' not in browser.get("/connections/").content.decode()
    return text[start : text.index("<section", start) if "<section" in text[start:] else None]


@contextmanager
def exchange_that(does: Callable[[], object]) -> Iterator[None]:
    """Run `does` in the gateway's thread while the token endpoint is asked."""
    real = oauth2.exchange_code

    def exchange(*args: Any, **kwargs: Any) -> oauth2.TokenAnswer:
        does()
        return real(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oauth2, "exchange_code", exchange)
        yield


class TestState:
    """A state is good once, for ten minutes, for one user, session and provider."""

    @pytest.mark.threat("A03")
    @pytest.mark.parametrize("change", [lambda state: "", lambda state: "unknown", lambda state: state[:-1] + "~"])
    def test_a_missing_or_altered_state_sends_nothing(self, alices, alice, github, far_side, change) -> None:
        state = leave(alices, offer_path(alice, github))["state"]
        refused(come_back(alices, "github", code=CODE, state=change(state)), "state_unknown")
        assert alices.get("/oauth/v1/callback/github").status_code == 400
        assert far_side.token_requests == []

    def test_the_page_that_says_so_has_the_navigation_and_no_form(self, alices, github) -> None:
        page = alices.get("/oauth/v1/callback/github?state=x&code=y").content.decode()
        assert 'href="/servers/"' in page
        assert "<form" not in page

    @pytest.mark.threat("A03")
    def test_a_state_older_than_ten_minutes_sends_nothing(self, alices, alice, github, far_side) -> None:
        state = leave(alices, offer_path(alice, github))["state"]
        ConsentRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert "ten minutes" in refused(come_back(alices, "github", code=CODE, state=state), "state_expired")
        assert far_side.token_requests == []

    @pytest.mark.threat("A04")
    def test_a_replayed_state_changes_nothing(self, alices, alice, github, far_side) -> None:
        state = leave(alices, offer_path(alice, github))["state"]
        assert come_back(alices, "github", code=CODE, state=state).status_code == 302
        before = VaultEntry.objects.values().get()
        refused(come_back(alices, "github", code="another", state=state), "state_unknown")
        assert VaultEntry.objects.values().get() == before
        assert len(far_side.token_requests) == 1

    @pytest.mark.threat("A01")
    def test_another_user_at_the_callback_is_403_and_nothing_is_stored(
        self, alices, alice, bob, github, far_side
    ) -> None:
        state = leave(alices, offer_path(alice, github))["state"]
        alices.force_login(bob)
        answer = come_back(alices, "github", code=CODE, state=state)
        assert answer.status_code == 403
        assert "alice" not in answer.content.decode()
        assert state not in answer.content.decode()
        assert Event.objects.filter(action="oauth.callback.user_mismatch", actor="bob", result="refused").count() == 1
        assert far_side.token_requests == []
        assert not VaultEntry.objects.exists()

    @pytest.mark.threat("A02")
    def test_signed_out_at_the_callback_sends_nothing(self, browser, alice, github, far_side) -> None:
        browser.force_login(alice)
        state = leave(browser, offer_path(alice, github))["state"]
        browser.logout()
        assert "no longer signed in" in refused(come_back(browser, "github", code=CODE, state=state), "signed_out")
        assert far_side.token_requests == []

    @pytest.mark.threat("A02")
    def test_another_session_of_the_same_user_sends_nothing(self, alices, alice, github, far_side) -> None:
        state = leave(alices, offer_path(alice, github))["state"]
        alices.logout()
        alices.force_login(alice)
        refused(come_back(alices, "github", code=CODE, state=state), "session_mismatch")
        assert far_side.token_requests == []

    def test_a_state_at_another_providers_callback_is_used_up(self, alices, alice, github, far_side) -> None:
        factories.make_provider("gitlab", base=far_side.base)
        state = leave(alices, offer_path(alice, github))["state"]
        refused(come_back(alices, "gitlab", code=CODE, state=state), "wrong_callback")
        refused(come_back(alices, "github", code=CODE, state=state), "state_unknown")
        assert far_side.token_requests == []

    def test_the_shared_callback_is_only_for_providers_that_share(self, alices, alice, github, far_side) -> None:
        state = leave(alices, offer_path(alice, github))["state"]
        refused(alices.get("/oauth/v1/callback", {"code": CODE, "state": state}), "wrong_callback")
        OAuthProvider.objects.update(callback_mode="shared")
        trip = leave(alices, offer_path(alice, github))
        assert trip["redirect_uri"] == "https://gateway.test/oauth/v1/callback"
        assert alices.get("/oauth/v1/callback", {"code": CODE, "state": trip["state"]}).status_code == 302
        state = leave(alices, offer_path(alice, github))["state"]
        refused(come_back(alices, "github", code=CODE, state=state), "wrong_callback")

    def test_a_parameter_that_comes_twice_sends_nothing(self, alices, alice, github, far_side) -> None:
        state = leave(alices, offer_path(alice, github))["state"]
        answer = alices.get(f"/oauth/v1/callback/github?code=a&code=b&state={state}")
        refused(answer, "parameter_repeated")
        assert far_side.token_requests == []

    def test_a_head_request_uses_nothing_up(self, alices, alice, github) -> None:
        state = leave(alices, offer_path(alice, github))["state"]
        assert alices.head("/oauth/v1/callback/github", {"code": CODE, "state": state}).status_code == 405
        assert come_back(alices, "github", code=CODE, state=state).status_code == 302

    def test_a_stranger_writes_no_audit_rows(self, browser, github) -> None:
        before = Event.objects.count()
        assert come_back(browser, "github", code=CODE, state="guess").status_code == 400
        assert Event.objects.count() == before


@pytest.mark.threat("A05")
@pytest.mark.django_db(transaction=True)
def test_twenty_parallel_callbacks_make_one_token_request(far_side: FakeProvider, browser: Client) -> None:
    alice = factories.make_user("alice")
    github = factories.make_provider("github", base=far_side.base, userinfo_endpoint=f"{far_side.base}/userinfo")
    browser.force_login(alice)
    state = leave(browser, offer_path(alice, github))["state"]
    start, statuses = threading.Barrier(20), []

    def arrive() -> None:
        tab = Client(headers={"host": "gateway.test"}, SERVER_NAME="gateway.test", **{"wsgi.url_scheme": "https"})
        tab.cookies = browser.cookies
        start.wait()
        try:
            statuses.append(come_back(tab, "github", code=CODE, state=state).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=arrive) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [302] + [400] * 19
    assert len(far_side.token_requests) == 1
    assert VaultEntry.objects.count() == 1


class TestIssuer:
    """`iss` is compared letter for letter (RFC 9207)."""

    @pytest.mark.threat("A06")
    @pytest.mark.spec("RFC 9207", "2.4")
    @pytest.mark.parametrize("iss", ["https://evil.example", "https://auth.example.com/", "HTTPS://auth.example.com"])
    def test_another_issuer_is_refused_before_the_code_goes_anywhere(
        self, alices, alice, github, far_side, iss
    ) -> None:
        OAuthProvider.objects.update(issuer="https://auth.example.com")
        state = leave(alices, offer_path(alice, github))["state"]
        answer = come_back(
            alices, "github", code=CODE, state=state, iss=iss, error="x", error_description="call me at evil.example"
        )
        page = refused(answer, "issuer_mismatch")
        assert "call me" not in page
        assert far_side.token_requests == []

    def test_the_recorded_issuer_is_welcome(self, alices, alice, github) -> None:
        OAuthProvider.objects.update(issuer="https://auth.example.com")
        assert connect(alices, offer_path(alice, github), iss="https://auth.example.com").status_code == 302


class TestProviderErrors:
    """What the provider says instead of a code."""

    @pytest.mark.threat("A10")
    def test_a_refusal_shows_a_fixed_sentence_and_escapes_the_rest(self, alices, alice, github, far_side) -> None:
        entry = factories.make_vault_entry(alice, github)
        before = VaultEntry.objects.values().get(pk=entry.pk)
        state = leave(alices, offer_path(alice, github))["state"]
        answer = come_back(
            alices, "github", state=state, error="access_denied", error_description="<script>alert(1)</script>"
        )
        page = told(alices, answer, "access_denied")
        assert "You, or Github, said no." in page
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page
        assert VaultEntry.objects.values().get(pk=entry.pk) == before
        assert not ConsentRequest.objects.exists()

    @pytest.mark.threat("A14")
    @pytest.mark.parametrize(
        ("error", "sentence", "step"),
        [
            ("access_denied", "You, or Github, said no.", "press Connect again"),
            ("invalid_scope", "does not know one of the permissions", "whoever runs this gateway"),
            ("invalid_client", "client id or secret", "whoever runs this gateway"),
            (
                "redirect_uri_mismatch",
                "different redirect URI",
                "register https://gateway.test/oauth/v1/callback/github",
            ),
            ("temporarily_unavailable", "not available at the moment", "Try again in a few minutes"),
        ],
    )
    def test_each_documented_error_comes_back_to_connections_with_the_next_step(
        self, alices, alice, github, error, sentence, step
    ) -> None:
        state = leave(alices, offer_path(alice, github))["state"]
        said = told(alices, come_back(alices, "github", state=state, error=error), error)
        assert sentence in said
        assert step in said
        assert state not in said
        assert "Connect Github again" in said
        assert "Request <code>" in said

    def test_what_ended_a_trip_is_told_to_nobody_else(self, alices, alice, bob, github) -> None:
        state = leave(alices, offer_path(alice, github))["state"]
        come_back(alices, "github", state=state, error="access_denied")
        alices.force_login(bob)
        assert "said no" not in alices.get("/connections/").content.decode()

    @pytest.mark.threat("A10")
    def test_an_unknown_error_code_is_not_echoed(self, alices, alice, github) -> None:
        state = leave(alices, offer_path(alice, github))["state"]
        page = told(alices, come_back(alices, "github", state=state, error="<b>odd</b>"), "provider_error")
        assert "odd" not in page

    def test_an_answer_without_code_is_refused(self, alices, alice, github, far_side) -> None:
        state = leave(alices, offer_path(alice, github))["state"]
        told(alices, come_back(alices, "github", state=state), "code_missing")
        assert far_side.token_requests == []


class TestExchange:
    """What the token endpoint answers."""

    @pytest.mark.parametrize(
        ("error", "sentence"),
        [
            ("invalid_client", "does not accept this gateway's client id or secret"),
            ("redirect_uri_mismatch", "register https://gateway.test/oauth/v1/callback/github at"),
            ("invalid_grant", "did not accept the code"),
            ("invalid_scope", "does not know one of the permissions"),
        ],
    )
    def test_a_refusal_becomes_a_sentence_and_a_next_step(
        self, alices, alice, github, far_side, error, sentence
    ) -> None:
        far_side.status, far_side.tokens = 400, {"error": error, "error_description": "canary-description"}
        page = told(alices, connect(alices, offer_path(alice, github)), error)
        assert sentence in page.replace("&#x27;", "'")
        assert "canary-description" not in page
        assert not VaultEntry.objects.exists()

    def test_a_provider_that_is_down_leaves_the_connection_as_it_was(self, alices, alice, github, far_side) -> None:
        entry = factories.make_vault_entry(alice, github)
        far_side.status = 503
        assert "Try again in a few minutes" in told(alices, connect(alices, offer_path(alice, github)), "status_503")
        entry.refresh_from_db()
        assert open_sealed(entry, "access_token") == "upstream-access"

    def test_an_answer_without_a_token_is_refused(self, alices, alice, github, far_side) -> None:
        far_side.tokens = {"hello": "there"}
        told(alices, connect(alices, offer_path(alice, github)), "exchange_bad_answer")
        assert not VaultEntry.objects.exists()

    def test_a_secret_that_is_gone_is_named(self, alices, alice, github, far_side) -> None:
        state = leave(alices, offer_path(alice, github))["state"]
        OAuthProvider.objects.update(client_secret_ref="GONE")
        page = told(alices, come_back(alices, "github", code=CODE, state=state), "secret_not_found")
        assert "Secret GONE not found" in page
        assert far_side.token_requests == []

    @pytest.mark.threat("A18")
    def test_a_provider_changed_while_the_user_was_away_gets_nothing(self, alices, alice, github, far_side) -> None:
        state = leave(alices, offer_path(alice, github))["state"]
        OAuthProvider.objects.update(client_id="another")
        refused(come_back(alices, "github", code=CODE, state=state), "provider_changed")
        assert far_side.token_requests == []

    @pytest.mark.threat("A18")
    def test_a_provider_changed_during_the_exchange_gives_its_tokens_back(
        self, alices, alice, github, far_side
    ) -> None:
        state = leave(alices, offer_path(alice, github))["state"]
        with exchange_that(lambda: OAuthProvider.objects.update(enabled=False)):
            refused(come_back(alices, "github", code=CODE, state=state), "provider_disabled")
        assert not VaultEntry.objects.exists()
        pending = PendingRevocation.objects.get()
        assert open_sealed(pending, "refresh_token") == REFRESH_TOKEN

    @pytest.mark.django_db(transaction=True)
    def test_no_database_connection_is_held_while_the_provider_is_asked(self, browser, far_side) -> None:
        alice = factories.make_user("alice")
        github = factories.make_provider("github", base=far_side.base)
        browser.force_login(alice)
        held: list[object] = []
        with exchange_that(lambda: held.append(connection.connection)):
            assert connect(browser, offer_path(alice, github)).status_code == 302
        assert held == [None]


class TestStored:
    """What a good answer leaves behind."""

    def test_the_exchange_carries_the_verifier_of_this_trip(self, alices, alice, github, far_side) -> None:
        state = leave(alices, offer_path(alice, github))["state"]
        verifier = trips.code_verifier(ConsentRequest.objects.get())
        come_back(alices, "github", code=CODE, state=state)
        (sent,) = far_side.token_requests
        assert sent["code_verifier"] == verifier
        assert (sent["grant_type"], sent["code"]) == ("authorization_code", CODE)
        assert sent["redirect_uri"] == "https://gateway.test/oauth/v1/callback/github"

    def test_tokens_account_and_scopes_are_kept_and_told(
        self, alices, alice, github, django_capture_on_commit_callbacks, monkeypatch
    ) -> None:
        told: list[Any] = []
        monkeypatch.setattr(registry, "_callbacks", [lambda *who: told.append(who)])
        with django_capture_on_commit_callbacks(execute=True):
            assert connect(alices, offer_path(alice, github, ["read", "write"])).status_code == 302
        entry = VaultEntry.objects.get()
        assert (entry.user_id, entry.provider_uid, entry.account) == (alice.pk, github.uid, "maria@example.com")
        assert entry.provider_fingerprint == github.fingerprint()
        assert open_sealed(entry, "access_token") == ACCESS_TOKEN
        assert open_sealed(entry, "refresh_token") == REFRESH_TOKEN
        assert entry.scopes_requested == entry.scopes_granted == ["read", "write"]  # RFC 6749 §5.1
        assert entry.attention_reason == ""
        assert timedelta(minutes=59) < entry.expires_at - timezone.now() <= timedelta(hours=1)
        assert told == [(alice.pk, github.uid)]
        event = Event.objects.get(action="oauth.connected")
        assert (event.actor, event.target, event.data["scopes"]) == ("alice", "github", ["read", "write"])

    @pytest.mark.threat("A14")
    def test_success_leads_to_a_clean_address(self, alices, alice, github) -> None:
        answer = connect(alices, offer_path(alice, github))
        assert answer["Location"] == "/oauth/v1/done/github"
        assert answer["Referrer-Policy"] == "no-referrer"
        assert answer["Cache-Control"] == "no-store"

    @pytest.mark.threat("A16")
    def test_a_missing_required_scope_needs_attention_and_is_shown(self, alices, alice, github, far_side) -> None:
        far_side.tokens["scope"] = "read extra"
        answer = connect(alices, offer_path(alice, github, ["read", "write"], server_name="tools"))
        assert answer.status_code == 302
        assert VaultEntry.objects.get().attention_reason == ""  # no server needs write
        far_side.tokens["scope"] = "extra"
        answer = connect(alices, offer_path(alice, github, ["read", "write"], server_name="tools"))
        entry = VaultEntry.objects.get()
        assert entry.attention_reason == "missing_scopes"
        assert entry.scopes_granted == ["extra"]
        page = alices.get(answer["Location"]).content.decode()
        assert "did not grant everything" in page
        assert "<code>extra</code>" in page

    @pytest.mark.threat("A16")
    def test_a_server_decides_what_is_required(self, alices, alice, github, far_side, monkeypatch) -> None:
        need = registry.ServerNeed("tools", github.uid, ("write",))
        monkeypatch.setattr(registry, "_sources", [lambda user: [need]])
        far_side.tokens["scope"] = "read"
        connect(alices, offer_path(alice, github, ["read", "write"], server_name="tools"))
        assert VaultEntry.objects.get().attention_reason == "missing_scopes"
        connect(alices, offer_path(alice, github, ["read"]))  # write was not asked for
        assert VaultEntry.objects.get().attention_reason == ""

    @pytest.mark.parametrize(
        ("before", "kept"),
        [
            ({"account": "maria@example.com", "scopes_granted": ["read", "write"]}, True),
            ({"account": "maria@example.com", "scopes_granted": []}, False),
            ({"account": "", "scopes_granted": ["read"]}, False),
            ({"account": "maria@example.com", "scopes_granted": ["read"], "provider_fingerprint": "old"}, False),
        ],
    )
    def test_the_old_refresh_token_stays_when_account_and_scopes_allow_it(
        self, alices, alice, github, far_side, before, kept
    ) -> None:
        factories.make_vault_entry(alice, github, refresh_token="old-refresh", **before)
        del far_side.tokens["refresh_token"]
        connect(alices, offer_path(alice, github))
        entry = VaultEntry.objects.get()
        assert open_sealed(entry, "access_token") == ACCESS_TOKEN
        assert open_sealed(entry, "refresh_token") == ("old-refresh" if kept else None)

    @pytest.mark.threat("A20")
    def test_another_account_replaces_the_old_one_whose_tokens_are_revoked(self, alices, alice, github) -> None:
        factories.make_vault_entry(alice, github, account="old@example.com", refresh_token="old-refresh")
        page = alices.get(connect(alices, offer_path(alice, github))["Location"]).content.decode()
        assert "maria@example.com" in page
        assert "old@example.com" in page
        assert VaultEntry.objects.get().account == "maria@example.com"
        pending = PendingRevocation.objects.get()
        assert (pending.reason, open_sealed(pending, "refresh_token")) == ("account_changed", "old-refresh")


class TestDonePage:
    """The page after consent."""

    def test_it_says_account_scopes_and_that_one_may_go_back(self, alices, alice, github) -> None:
        answer = connect(alices, offer_path(alice, github, ["read"], server_name="tools"))
        page = alices.get(answer["Location"]).content.decode()
        for text in ("Github is connected", "maria@example.com", "<code>read</code>", "tools", "close this page"):
            assert text in page
        assert 'href="/connections/"' in page

    def test_it_leads_back_to_the_server_that_asked(self, alices, alice, github) -> None:
        server = factories.make_server("tools", provider=github)
        answer = connect(alices, offer_path(alice, github, ["read"], server_name="tools"))
        assert "/servers/" not in alices.get(answer["Location"]).content.decode().partition("<main")[2]
        factories.allow(alice, server, "view", "use")
        assert '<a class="button primary" href="/servers/tools/">' in alices.get(answer["Location"]).content.decode()

    def test_it_says_when_the_provider_does_not_tell_the_account(self, alices, alice, github, far_side) -> None:
        far_side.account = None
        answer = connect(alices, offer_path(alice, github))
        assert "does not say which account" in alices.get(answer["Location"]).content.decode()

    def test_without_a_connection_it_leads_to_connections(self, alices, alice, bob, github) -> None:
        assert alices.get("/oauth/v1/done/github")["Location"] == "/connections/"
        connect(alices, offer_path(alice, github))
        assert alices.get("/oauth/v1/done/other")["Location"] == "/connections/"
        VaultEntry.objects.all().delete()
        assert alices.get("/oauth/v1/done/github")["Location"] == "/connections/"
        alices.force_login(bob)
        assert alices.get("/oauth/v1/done/github")["Location"] == "/connections/"

    def test_signed_out_it_leads_to_sign_in(self, browser, github) -> None:
        assert browser.get("/oauth/v1/done/github")["Location"].startswith("/sign-in")


def test_no_token_code_state_or_verifier_shows_anywhere(alices: Client, alice: User, github, far_side, caplog) -> None:
    """Canary: pages, logs, audit rows."""
    caplog.set_level("DEBUG")
    state = leave(alices, offer_path(alice, github))["state"]
    verifier = trips.code_verifier(ConsentRequest.objects.get()) or ""
    answer = come_back(alices, "github", code=CODE, state=state)
    page = alices.get(answer["Location"])
    seen = caplog.text + page.content.decode() + answer.content.decode() + str(list(Event.objects.values()))
    for canary in (ACCESS_TOKEN, REFRESH_TOKEN, CODE, state, verifier, "s3cret-value"):
        assert canary not in seen
