"""Connecting with a code (RFC 8628): what the provider answers, and what becomes of the request."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection as database
from django.utils import timezone

from audit.models import Event
from connections import cleanup, device, device_poll, registry, tasks
from connections.models import DeviceRequest, DeviceState
from connections.refusals import ConsentRefused
from providers.models import OAuthProvider
from tests import factories
from tests.connections import devices
from tests.connections.devices import DEVICE_CODE, say, wait_and_poll
from tests.fakes.token_endpoint import TokenEndpoint
from vault.fields import Sealed
from vault.models import PendingRevocation, Secret, VaultEntry
from vault.sealing import open_sealed

POLL = "urn:ietf:params:oauth:grant-type:device_code"


def outcome(request: DeviceRequest) -> tuple[str, str]:
    """Return state and reason as they are now."""
    request.refresh_from_db()
    return request.state, request.reason


def seconds_to_next(request: DeviceRequest) -> int:
    """Return how long the request now waits, rounded."""
    request.refresh_from_db()
    return round((request.next_poll_at - timezone.now()).total_seconds())


def reasons() -> list[str]:
    """Return why requests were refused, by the trail."""
    return [event.data["reason"] for event in Event.objects.filter(action="oauth.device.refused")]


# --- No answer that connects ----------------------------------------------------------------------------


@pytest.mark.spec("RFC 8628", "3.5")
@pytest.mark.parametrize(
    ("error", "state"),
    [
        ("access_denied", DeviceState.DENIED),
        ("expired_token", DeviceState.EXPIRED),
        ("invalid_grant", DeviceState.FAILED),
        ("invalid_client", DeviceState.FAILED),
    ],
)
def test_a_refusal_ends_the_request_and_erases_its_codes(
    error: str, state: DeviceState, alice: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    request = devices.start(alice, coded)
    say(code_side, error)
    wait_and_poll()
    assert outcome(request) == (state, error)
    assert (request.device_code, request.user_code, request.verification_uri_complete) == (None, None, None)
    assert reasons() == [error]
    wait_and_poll()
    assert len(code_side.token_requests) == 1
    assert not VaultEntry.objects.exists()


@pytest.mark.spec("RFC 8628", "3.5")
def test_pending_keeps_the_interval_and_slow_down_adds_five_seconds_for_good(
    alice: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    request = devices.start(alice, coded)
    assert seconds_to_next(request) == 5
    for error, seconds in (
        ("authorization_pending", 5),
        ("slow_down", 10),
        ("slow_down", 15),
        ("authorization_pending", 15),
    ):
        say(code_side, error)
        wait_and_poll()
        assert seconds_to_next(request) == seconds
    assert outcome(request) == (DeviceState.PENDING, "")


@pytest.mark.spec("RFC 8628", "3.5")
@pytest.mark.parametrize("trouble", [{"status": 503}, {"hang_up": True}, {"status": 500, "body": b"<html>"}])
def test_a_provider_in_trouble_is_asked_again_later(
    trouble: dict[str, Any], alice: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    request = devices.start(alice, coded)
    waits = []
    for _ in range(4):
        code_side.will(**trouble)
        wait_and_poll()
        waits.append(seconds_to_next(request))
    assert waits == [10, 20, 30, 30]
    wait_and_poll()
    assert outcome(request) == (DeviceState.CONNECTED, "")


def test_a_provider_that_says_when_to_come_back_is_obeyed(
    alice: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    request = devices.start(alice, coded)
    code_side.will(status=429, headers={"Retry-After": "120"})
    wait_and_poll()
    assert seconds_to_next(request) == 120


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"token_type": "Bearer"}'])
def test_an_answer_that_is_none_ends_the_request(
    body: bytes, alice: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    request = devices.start(alice, coded)
    code_side.will(body=body)
    wait_and_poll()
    assert outcome(request) == (DeviceState.FAILED, "provider_bad_answer")


def test_a_code_that_ran_out_is_not_asked_for_again(
    alice: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    request = devices.start(alice, coded)
    DeviceRequest.objects.update(expires_at=timezone.now())
    request.refresh_from_db()
    assert request.state_at(timezone.now()) == DeviceState.EXPIRED
    wait_and_poll()
    assert outcome(request) == (DeviceState.EXPIRED, "expired_token")
    assert code_side.token_requests == []


def test_a_code_that_no_longer_opens_ends_the_request(
    alice: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    request = devices.start(alice, coded)
    DeviceRequest.objects.update(device_code=Sealed(b"x"))
    wait_and_poll()
    assert outcome(request) == (DeviceState.FAILED, "unreadable")
    assert code_side.token_requests == []


@pytest.mark.threat("A18")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"enabled": False}, "provider_disabled"),
        ({"client_id": "another"}, "provider_changed"),
        ({"deleted_at": timezone.now()}, "oauth_provider_not_found"),
    ],
)
def test_a_code_never_goes_to_a_provider_that_is_not_as_it_was(
    change: dict[str, Any], reason: str, alice: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    request = devices.start(alice, coded)
    OAuthProvider.everything.update(**change)
    wait_and_poll()
    assert outcome(request) == (DeviceState.FAILED, reason)
    assert code_side.token_requests == []


def test_a_secret_that_is_gone_ends_the_request(alice: User, coded: OAuthProvider, code_side: TokenEndpoint) -> None:
    request = devices.start(alice, coded)
    Secret.objects.all().delete()
    wait_and_poll()
    assert outcome(request) == (DeviceState.FAILED, "secret_not_found")


# --- Tokens ---------------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 8628", "3.4")
@pytest.mark.django_db(transaction=True)
def test_the_tokens_are_stored_for_that_user_alone_and_whoever_waits_is_told(
    alice: User, bob: User, coded: OAuthProvider, code_side: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, Any]] = []
    monkeypatch.setattr(registry, "_callbacks", [lambda user_id, uid: told.append((user_id, uid))])
    request = devices.start(alice, coded)
    wait_and_poll()
    assert outcome(request) == (DeviceState.CONNECTED, "")
    assert request.device_code is None
    (entry,) = VaultEntry.objects.all()
    assert (entry.user_id, entry.provider_uid, entry.account) == (alice.pk, coded.uid, "alice")
    assert (open_sealed(entry, "access_token"), open_sealed(entry, "refresh_token")) == ("access-1", "refresh-1")
    assert told == [(alice.pk, coded.uid)]
    (poll,) = code_side.token_requests
    assert poll.form == {"grant_type": POLL, "device_code": DEVICE_CODE}
    actions = list(Event.objects.filter(action__startswith="oauth.").values_list("action", "actor").order_by("pk"))
    assert actions == [
        ("oauth.device.started", "alice"),
        ("oauth.connected", "alice"),
        ("oauth.device.connected", "alice"),
    ]


def test_a_grant_that_lacks_a_required_scope_needs_attention(
    alice: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    devices.start(alice, coded)
    code_side.will(fields={"access_token": "a", "token_type": "Bearer", "scope": "other"})
    wait_and_poll()
    assert VaultEntry.objects.get().attention_reason == "missing_scopes"


@pytest.mark.threat("A18")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("meanwhile", ["deleted", "changed", "disabled", "deactivated", "replaced", "cancelled"])
def test_tokens_that_nobody_may_keep_any_more_are_given_back(
    meanwhile: str, alice: User, coded: OAuthProvider, code_side: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = devices.start(alice, coded)
    answer_of = code_side._answer

    def answer(received: Any) -> Any:
        if received.path == "/token":
            _while_asking(meanwhile, request)
        return answer_of(received)

    monkeypatch.setattr(code_side, "_answer", answer)
    wait_and_poll()
    assert not VaultEntry.objects.exists()
    pending = PendingRevocation.objects.get()
    assert (open_sealed(pending, "access_token"), pending.reason) == ("access-1", "not_stored")
    left = DeviceRequest.objects.filter(pk=request.pk).first()
    assert (
        meanwhile == "cancelled"
        if left is None
        else left.state == (DeviceState.PENDING if meanwhile == "replaced" else DeviceState.FAILED)
    )


def _while_asking(what: str, request: DeviceRequest) -> None:
    """Change the world while the provider thinks; in the thread of the provider, so with a connection of its own."""
    changes: dict[str, dict[str, Any]] = {
        "deleted": {"deleted_at": timezone.now()},
        "changed": {"client_id": "another"},
        "disabled": {"enabled": False},
    }
    try:
        if what == "deactivated":
            User.objects.filter(pk=request.user_id).update(is_active=False)
        elif what == "replaced":
            DeviceRequest.objects.update(uid="12345678-1234-1234-1234-123456789abc")
        elif what == "cancelled":
            device.cancel(request)
        else:
            OAuthProvider.everything.update(**changes[what])
    finally:
        database.close()


# --- Who polls ------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_workers_poll_once(alice: User, coded: OAuthProvider, code_side: TokenEndpoint) -> None:
    devices.start(alice, coded)
    DeviceRequest.objects.update(next_poll_at=timezone.now())
    code_side.will(after_seconds=0.3, status=400, fields={"error": "authorization_pending"})
    together = threading.Barrier(6)

    def work() -> None:
        together.wait()
        try:
            device_poll.poll_due()
        finally:
            database.close()

    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(code_side.token_requests) == 1


def test_a_request_is_not_polled_before_its_interval(
    alice: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    devices.start(alice, coded)
    tasks.poll_devices.apply().get()
    assert code_side.token_requests == []


def test_a_crashed_workers_claim_lapses(alice: User, coded: OAuthProvider, code_side: TokenEndpoint) -> None:
    request = devices.start(alice, coded)
    assert device_poll._claim(request, timezone.now())
    assert not device_poll._claim(request, timezone.now())
    wait_and_poll()
    assert outcome(request) == (DeviceState.CONNECTED, "")


def test_a_silent_provider_is_asked_once_a_run(
    alice: User, bob: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    devices.start(alice, coded)
    devices.start(bob, coded)
    code_side.will(status=503, times=2)
    wait_and_poll()
    assert len(code_side.token_requests) == 1


@pytest.mark.threat("B19")
def test_the_request_of_a_departed_user_is_dropped(alice: User, coded: OAuthProvider, code_side: TokenEndpoint) -> None:
    request = devices.start(alice, coded)
    User.objects.update(is_active=False)
    wait_and_poll()
    assert outcome(request) == (DeviceState.FAILED, "user_inactive")
    assert code_side.token_requests == []
    assert cleanup.collect_orphans().devices == 1


def test_what_is_long_over_is_collected_and_the_rest_is_not(
    alice: User, bob: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    devices.start(alice, coded)
    devices.start(bob, coded)
    over = timezone.now() - timedelta(seconds=cleanup.OUTCOME_SHOWN_SECONDS + 1)
    DeviceRequest.objects.filter(user_id=alice.pk).update(expires_at=over)
    assert cleanup.collect_orphans().devices == 1
    assert DeviceRequest.objects.get().user_id == bob.pk


# --- Starting -------------------------------------------------------------------------------------------


def test_a_new_code_takes_the_place_of_the_old(alice: User, coded: OAuthProvider, code_side: TokenEndpoint) -> None:
    first = devices.start(alice, coded)
    devices.hand_out(code_side, user_code="NEW")
    second = devices.start(alice, coded)
    assert (DeviceRequest.objects.count(), device.find(alice, first.uid)) == (1, None)
    shown = device.user_code(second)
    assert shown is not None
    assert shown.user_code == "NEW"


def test_the_scopes_and_the_client_are_told(alice: User, coded: OAuthProvider, code_side: TokenEndpoint) -> None:
    device.start(alice, coded.uid, ["read", "repo"])
    (asked,) = code_side.received("/device")
    assert (asked.form["scope"], asked.form["client_id"]) == ("read repo", "gateway-client")
    assert asked.headers["authorization"].startswith("Basic ")


@pytest.mark.threat("A12")
@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "http://example.com/enter",
        "https://user@example.com/",
        "https://169.254.169.254/enter",
        "https://10.0.0.1/enter",
    ],
)
def test_no_browser_is_sent_to_an_unsafe_address(
    address: str, alice: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    devices.hand_out(code_side, verification_uri_complete=address)
    shown = device.user_code(devices.start(alice, coded))
    assert shown is not None
    assert shown.verification_uri_complete == ""
    devices.hand_out(code_side, verification_uri=address)
    with pytest.raises(ConsentRefused, match="provider_bad_answer"):
        devices.start(alice, coded)


@pytest.mark.threat("C03")
def test_a_code_copied_to_another_users_request_does_not_open(
    alice: User, bob: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    alices, bobs = devices.start(alice, coded), devices.start(bob, coded)
    DeviceRequest.objects.filter(pk=bobs.pk).update(user_code=alices.user_code, device_code=alices.device_code)
    bobs.refresh_from_db()
    assert device.user_code(bobs) is None
    wait_and_poll()
    assert outcome(bobs) == (DeviceState.FAILED, "unreadable")


@pytest.mark.threat("C01")
def test_the_device_code_is_nowhere_to_be_seen(
    alice: User, coded: OAuthProvider, code_side: TokenEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    request = devices.start(alice, coded)
    for error in ("slow_down", "authorization_pending", DEVICE_CODE, ""):
        code_side.will(status=400, fields={"error": error, "error_description": DEVICE_CODE})
        wait_and_poll()
    assert request.state == DeviceState.PENDING
    factories.make_api_token(alice)
    seen = caplog.text + repr(list(Event.objects.values())) + repr(request) + repr(DeviceRequest.objects.values())
    assert DEVICE_CODE not in seen
    assert "canary" not in seen
    with database.cursor() as cursor:
        cursor.execute("select * from connections_devicerequest")
        assert DEVICE_CODE not in repr(cursor.fetchall())


def test_the_client_secret_is_recorded_once_however_often_is_asked(
    alice: User, coded: OAuthProvider, code_side: TokenEndpoint
) -> None:
    devices.start(alice, coded)
    for _ in range(4):
        devices.say(code_side, "authorization_pending")
        devices.wait_and_poll()
    assert Event.objects.filter(action="secret.opened").count() == 1
    devices.wait_and_poll()
    assert VaultEntry.objects.exists()
    assert Event.objects.filter(action="secret.opened").count() == 1
