"""Both tokens of a connection are revoked in one round, each once; the receipt speaks of both (RFC 7009)."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from celery.worker import state
from django.contrib.auth.models import User
from django.utils import timezone

from audit.models import Event
from connections import provider_health, revocation, tasks
from connections.errors import RefreshUnavailable
from connections.models import ProviderHealth
from connections.revocation import Outcome
from providers.models import OAuthProvider
from tests import factories
from tests.connections.test_refresh import make_expired, use
from tests.connections.test_revocation import BOTH, end, last_event, retry_now
from tests.fakes.rotating_provider import Answer, RotatingProvider
from tests.fakes.token_endpoint import TokenEndpoint
from vault.fields import Sealed
from vault.models import PendingRevocation, VaultEntry

REFRESH, ACCESS = BOTH
OK: Answer = (200, {}, {})
BUSY: Answer = (503, {}, {"Retry-After": "900"})
DOWN: Answer = (500, {}, {})
REFUSED: Answer = (400, {"error": "invalid_request"}, {})
NOT_THIS_KIND: Answer = (400, {"error": "unsupported_token_type"}, {})


@pytest.mark.threat("B17")
@pytest.mark.parametrize("first", [DOWN, REFUSED, (401, {"error": "invalid_client"}, {})])
@pytest.mark.parametrize("hint", ["refresh_token", "access_token"])
def test_one_that_fails_keeps_the_other_not_waiting_and_only_it_is_sent_again(
    first: Answer, hint: str, alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    factories.make_vault_entry(alice, rotating)
    upstream.revocation_of = {hint: first}
    assert end(alice, rotating) is Outcome.PENDING
    assert upstream.revoked == BOTH
    upstream.revocation_of.clear()
    retry_now()
    assert upstream.revoked[2:] == [token for token in BOTH if token[0] == hint]
    assert last_event()["outcome"] == "revoked"
    assert not PendingRevocation.objects.exists()


@pytest.mark.threat("B17")
def test_what_is_settled_is_erased_here_while_the_other_waits(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    factories.make_vault_entry(alice, rotating)
    upstream.revocation_of = {"access_token": DOWN}
    end(alice, rotating)
    kept = PendingRevocation.objects.get()
    assert (kept.refresh_token, kept.access_token is None) == (None, False)


@pytest.mark.threat("B18")
@pytest.mark.spec("RFC 7009", "2.2.1")
@pytest.mark.parametrize(
    ("refresh_answer", "access_answer", "outcome"),
    [
        (OK, NOT_THIS_KIND, Outcome.REVOKED),  # it lapses by itself and cannot be renewed
        (NOT_THIS_KIND, OK, Outcome.UNSUPPORTED),  # the grant lives on
        (NOT_THIS_KIND, NOT_THIS_KIND, Outcome.UNSUPPORTED),
    ],
)
@pytest.mark.parametrize("is_interrupted", [False, True])
def test_the_receipt_says_what_became_of_the_grant(
    refresh_answer: Answer,
    access_answer: Answer,
    outcome: Outcome,
    is_interrupted: bool,
    alice: User,
    rotating: OAuthProvider,
    upstream: RotatingProvider,
) -> None:
    factories.make_vault_entry(alice, rotating)
    said = {"refresh_token": refresh_answer, "access_token": access_answer}
    for failing in ("access_token", "refresh_token") if is_interrupted else ():
        upstream.revocation_of = said | {failing: DOWN}
        end(alice, rotating)
        retry_now()
    upstream.revocation_of = said
    if is_interrupted:
        retry_now()
    else:
        end(alice, rotating)
    assert last_event()["outcome"] == outcome
    assert not PendingRevocation.objects.exists()


@pytest.mark.threat("B17")
@pytest.mark.parametrize("hint", ["refresh_token", "access_token"])
def test_it_has_failed_when_one_of_them_was_never_told(
    hint: str, alice: User, rotating: OAuthProvider, upstream: RotatingProvider, settings: Any
) -> None:
    settings.VAULT_REVOCATION_ATTEMPTS = 2
    factories.make_vault_entry(alice, rotating)
    upstream.revocation_of = {hint: DOWN}
    end(alice, rotating)
    retry_now()
    assert last_event()["outcome"] == "failed"
    assert len(upstream.revoked) == 3


@pytest.mark.threat("C03", "B17")
@pytest.mark.parametrize("column", ["refresh_token", "access_token"])
def test_one_that_does_not_open_stops_not_the_other_and_is_not_called_revoked(
    column: str, alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    entry = factories.make_vault_entry(alice, rotating)
    VaultEntry.objects.filter(pk=entry.pk).update(**{column: Sealed(b"x")})
    assert end(alice, rotating) is Outcome.FAILED
    assert upstream.revoked == [token for token in BOTH if token[0] != column]
    assert not PendingRevocation.objects.exists()


@pytest.mark.threat("C03", "B17")
def test_one_that_stops_opening_while_it_waits_stops_not_the_other(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    factories.make_vault_entry(alice, rotating)
    upstream.revocation_status = 500
    end(alice, rotating)
    PendingRevocation.objects.update(refresh_token=Sealed(b"x"))
    upstream.revocation_status = 200
    retry_now()
    assert upstream.revoked == [*BOTH, ACCESS]
    assert (last_event()["outcome"], last_event()["why"]) == ("failed", "unreadable")
    assert not PendingRevocation.objects.exists()


@pytest.mark.threat("B18")
@pytest.mark.spec("RFC 7009", "2.2.1")
def test_a_provider_that_asks_to_be_left_alone_is_sent_nothing_by_anyone(
    alice: User, bob: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    factories.make_vault_entry(alice, rotating)
    factories.make_vault_entry(bob, rotating)
    upstream.revocation_of = {"refresh_token": BUSY}
    assert end(alice, rotating) is Outcome.PENDING
    assert upstream.revoked == [REFRESH], "not the other token, either"
    assert end(bob, rotating) is Outcome.PENDING
    retry_now()
    assert upstream.revoked == [REFRESH]
    waits = [pending.try_at - timezone.now() for pending in PendingRevocation.objects.all()]
    assert all(timedelta(seconds=880) < wait < timedelta(seconds=910) for wait in waits)
    assert sorted(PendingRevocation.objects.values_list("attempts", flat=True)) == [0, 1], "no attempt was used up"
    ProviderHealth.objects.update(paused_until=timezone.now())
    upstream.revocation_of.clear()
    retry_now()
    assert sorted(upstream.revoked[1:]) == sorted(BOTH * 2)


@pytest.mark.threat("B08", "B18")
def test_a_wait_that_a_renewal_was_asked_for_holds_for_revocations(
    alice: User, bob: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    make_expired(alice, rotating)
    factories.make_vault_entry(bob, rotating)
    upstream.answers = [(429, {}, {"Retry-After": "600"})]
    with pytest.raises(RefreshUnavailable):
        use(alice, rotating)
    assert end(bob, rotating) is Outcome.PENDING
    assert upstream.revoked == []
    assert last_event()["why"] == "paused"


@pytest.mark.threat("G11")
def test_an_open_circuit_is_asked_nothing_until_its_pause_is_over(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    factories.make_vault_entry(alice, rotating)
    now = timezone.now()
    ProviderHealth.objects.create(
        provider_uid=rotating.uid, circuit_open_since=now, paused_until=now + timedelta(minutes=5)
    )
    end(alice, rotating)
    retry_now()
    assert upstream.revoked == []
    ProviderHealth.objects.update(paused_until=now)
    retry_now()
    assert upstream.revoked == BOTH


def test_a_revocation_endpoint_that_fails_opens_no_circuit(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider, settings: Any
) -> None:
    settings.VAULT_REVOCATION_ATTEMPTS = 2 * provider_health.CIRCUIT_FAILURES
    factories.make_vault_entry(alice, rotating)
    upstream.revocation_status = 500
    end(alice, rotating)
    for _ in range(provider_health.CIRCUIT_FAILURES):
        retry_now()
    assert provider_health.may_ask(rotating.uid, timezone.now()) == 0


@pytest.mark.threat("G04")
def test_a_worker_that_is_asked_to_stop_begins_no_further_one(
    alice: User, bob: User, rotating: OAuthProvider, upstream: RotatingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in (alice, bob):
        entry = factories.make_vault_entry(user, rotating)
        revocation.entries.retire(entry, reason="test", now=timezone.now())
    monkeypatch.setattr(state, "should_stop", 0)
    tasks.retry_revocations.apply()
    assert upstream.revoked == []
    monkeypatch.setattr(state, "should_stop", None)
    tasks.retry_revocations.apply()
    assert len(upstream.revoked) == 4


@pytest.mark.threat("G04", "B21")
@pytest.mark.django_db(transaction=True)
def test_a_task_delivered_twice_sends_each_token_once(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    entry = factories.make_vault_entry(alice, rotating)
    revocation.entries.retire(entry, reason="test", now=timezone.now())

    def run() -> None:
        from django.db import connection

        try:
            tasks.retry_revocations.apply()
        finally:
            connection.close()

    runs = [threading.Thread(target=run) for _ in range(2)]
    for each in runs:
        each.start()
    for each in runs:
        each.join()
    assert upstream.revoked == BOTH
    assert Event.objects.filter(action="connection.revocation", result="ok").count() == 1


@pytest.mark.threat("B17")
@pytest.mark.spec("RFC 6749", "2.3.1")
@pytest.mark.parametrize(
    ("method", "is_in_header", "fields"),
    [
        ("client_secret_basic", True, set()),
        ("client_secret_post", False, {"client_id", "client_secret"}),
        ("none", False, {"client_id"}),
    ],
)
def test_both_requests_authenticate_the_client_as_the_provider_wants_it(
    method: str, is_in_header: bool, fields: set[str], alice: User
) -> None:
    with TokenEndpoint() as far_side:
        own = {"client_secret_ref": ""} if method == "none" else {}
        provider = factories.make_provider(
            **{**far_side.endpoints, "token_endpoint_auth_method": method, "require_pkce": method == "none", **own}
        )
        factories.make_vault_entry(alice, provider)
        assert end(alice, provider) is Outcome.REVOKED
        requests = far_side.received("/revoke")
    assert [request.form["token_type_hint"] for request in requests] == ["refresh_token", "access_token"]
    for request in requests:
        assert ("authorization" in request.headers) is is_in_header
        assert request.client == (provider.client_id, None if method == "none" else "s3cret-value")
        assert set(request.form) - {"token", "token_type_hint"} == fields
