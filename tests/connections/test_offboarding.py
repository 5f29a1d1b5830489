"""Everything of a departing person ends, by command and by API, and the report says what came of it."""

from io import StringIO
from itertools import cycle
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from audit.models import Event
from clients import tokens
from clients.models import ApiToken
from connections import cleanup, offboarding, revocation, tasks
from connections.errors import ConnectionRequired
from connections.models import ConsentRequest
from connections.revocation import Outcome
from mcpservers.dataplane import kept_sessions
from mcpservers.models import McpSession
from providers.models import OAuthProvider
from tests import factories
from tests.admin_pages import signed_in
from tests.api import client_of, findings, send
from tests.connections.test_cleanup import make_consent
from tests.connections.test_refresh import use
from tests.connections.test_refresh_once import all_at_once
from tests.fakes.rotating_provider import RotatingProvider
from vault.models import PendingRevocation, VaultEntry

BOTH = [("refresh_token", "upstream-refresh"), ("access_token", "upstream-access")]
NOTHING = {"sign_ins": 0, "api_tokens": 0, "mcp_sessions": 0, "consents": 0}


def address(username: str) -> str:
    return f"/api/v1/users/{username}/offboard/"


def offboard(*args: str) -> str:
    out = StringIO()
    call_command("offboard", *args, stdout=out)
    return out.getvalue()


def open_session(user: User) -> None:
    server = factories.make_server(f"tools-of-{user.username}")
    kept_sessions.keep(f"id-of-{user.username}", user_id=user.pk, server_uid=server.uid, initialize_params={})


@pytest.fixture
def everything(alice: User, bob: User, rotating: OAuthProvider) -> dict[str, Client]:
    """Give alice and bob one of everything, and return their browsers and programs."""
    for user in (alice, bob):
        factories.make_vault_entry(user, rotating)
        open_session(user)
        make_consent(user.username, minutes=5)
        ConsentRequest.objects.filter(state_digest=user.username).update(user_id=user.pk)
    return {
        "alice": signed_in(alice),
        "program": client_of(alice),
        "bob": signed_in(bob),
        "bobs program": client_of(bob),
    }


@pytest.mark.parametrize("name", ["nobody", "", "Alice"])
def test_an_unknown_user_is_said_to_be_unknown(alice: User, name: str) -> None:
    with pytest.raises(CommandError, match="There is no user"):
        offboard(name)
    assert User.objects.get(pk=alice.pk).is_active


@pytest.mark.threat("F07")
def test_who_is_no_admin_offboards_nobody_and_learns_of_nobody(alice: User, bob: User) -> None:
    bob.groups.add(Group.objects.get(name="mcp-editors"))
    bob.is_staff = True
    bob.save()
    answers = [send(bob, "post", address(name), {}) for name in ("alice", "nobody", "bob")]
    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.content for answer in answers}) == 1
    assert User.objects.filter(is_active=True).count() == 2


@pytest.mark.threat("F07")
def test_an_admin_offboards_neither_a_superuser_nor_themselves(admin: User, superuser: User) -> None:
    for name in ("root", "admin"):
        answer = send(admin, "post", address(name), {})
        assert (answer.status_code, findings(answer)) == (403, [("permission_denied", None)])
    assert send(superuser, "post", address("root"), {}).status_code == 403
    assert User.objects.filter(is_active=True).count() == 2
    assert send(superuser, "post", address("admin"), {}).status_code == 200


def test_the_api_knows_who_is_not_there_and_what_it_was_sent(admin: User, alice: User) -> None:
    assert send(admin, "post", address("nobody"), {}).status_code == 404
    answer = send(admin, "post", address("alice"), {"delete_user": True})
    assert (answer.status_code, findings(answer)) == (400, [("unknown_field", "delete_user")])
    assert send(admin, "get", address("alice")).status_code == 405
    assert User.objects.get(pk=alice.pk).is_active


@pytest.mark.threat("B17", "B19")
def test_everything_of_alice_ends_and_nothing_of_bob(
    everything: dict[str, Client],
    alice: User,
    bob: User,
    admin: User,
    rotating: OAuthProvider,
    upstream: RotatingProvider,
) -> None:
    answer = send(admin, "post", address("alice"), {})
    assert answer.json() == {
        "user": "alice",
        "is_active": False,
        "sign_ins": 1,
        "api_tokens": 1,
        "mcp_sessions": 1,
        "consents": 1,
        "connections": [{"provider": "rotating", "revocation": "revoked"}],
        "revocations_waiting": 0,
    }
    assert upstream.revoked == BOTH
    with pytest.raises(ConnectionRequired):
        use(alice, rotating)
    assert everything["program"].get("/api/v1/connections/").status_code == 401
    assert everything["alice"].get("/connections/").status_code == 302
    assert everything["bob"].get("/connections/").status_code == 200
    assert everything["bobs program"].get("/api/v1/connections/").status_code == 200
    assert use(bob, rotating).access_token == "upstream-access"
    for model in (VaultEntry, McpSession, ConsentRequest):
        assert [row.user_id for row in model.objects.all()] == [bob.pk]


def test_it_is_audited_with_who_did_it(everything: dict[str, Client], admin: User) -> None:
    send(admin, "post", address("alice"), {})
    actors = dict(Event.objects.exclude(actor="").values_list("action", "actor"))
    done = ("user.offboarded", "user.access_ended", "connection.disconnected", "api_token.revoked")
    assert {action: actors[action] for action in done} == dict.fromkeys(done, "admin")
    assert Event.objects.get(action="connection.disconnected").data["reason"] == "offboarded"
    assert Event.objects.get(action="connection.revocation").data["outcome"] == "revoked"


def test_a_second_time_finds_nothing_and_tells_nobody_again(
    everything: dict[str, Client], admin: User, upstream: RotatingProvider
) -> None:
    send(admin, "post", address("alice"), {})
    again = send(admin, "post", address("alice"), {}).json()
    rest = {"user": "alice", "is_active": False, "connections": [], "revocations_waiting": 0}
    assert again == {**NOTHING, **rest}
    assert len(upstream.revoked) == 2


def test_a_kept_user_signs_in_again_with_nothing_left(
    everything: dict[str, Client], alice: User, admin: User, rotating: OAuthProvider
) -> None:
    assert send(admin, "post", address("alice"), {"keep_user": True}).json()["is_active"] is True
    assert everything["alice"].get("/connections/").status_code == 302
    assert everything["program"].get("/api/v1/connections/").status_code == 401
    with pytest.raises(ConnectionRequired):
        use(alice, rotating)
    assert signed_in(alice).get("/connections/").status_code == 200


def test_a_session_from_before_does_not_come_back_with_the_account(everything: dict[str, Client], alice: User) -> None:
    offboard("alice")
    User.objects.filter(pk=alice.pk).update(is_active=True)
    assert everything["alice"].get("/connections/").status_code == 302
    assert not ApiToken.objects.filter(user=alice, revoked_at=None).exists()


@pytest.mark.threat("B17", "B18")
def test_the_command_prints_what_each_provider_said(alice: User, upstream: RotatingProvider) -> None:
    factories.make_vault_entry(alice, factories.make_provider("good", base=upstream.base))
    factories.make_vault_entry(alice, factories.make_provider("silent", base="http://127.0.0.1:9"))
    factories.make_vault_entry(alice, factories.make_provider("mute", revocation_endpoint=""))
    factories.make_vault_entry(alice, factories.make_provider("over"), access_token=None, refresh_token=None)
    lines = dict(line.strip().split("  ", 1) for line in offboard("alice").splitlines() if "  " in line)
    said = {name: text.strip() for name, text in lines.items()}
    assert said["account"] == "deactivated"
    assert said["connections ended"] == "4"
    outcomes = {name: said[name].partition(":")[0] for name in ("good", "silent", "mute", "over")}
    assert outcomes == {"good": "revoked", "silent": "pending", "mute": "unsupported", "over": "not_connected"}
    assert said["revocations waiting"] == "1"
    assert "was inactive already" in offboard("alice")
    assert "upstream-" not in offboard("alice")


def test_a_kept_user_is_said_to_be_active(alice: User) -> None:
    assert "still active" in offboard("alice", "--keep-user")
    assert User.objects.get(pk=alice.pk).is_active


@pytest.mark.threat("B17")
def test_whoever_waits_for_a_report_waits_for_so_long_only(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocation, "TELL_SECONDS", -1.0)
    factories.make_vault_entry(alice, rotating)
    report = offboarding.offboard(alice, keep_user=False, actor=None)
    assert (report.connections, report.revocations_waiting) == ([("rotating", Outcome.PENDING)], 1)
    assert not VaultEntry.objects.exists()
    assert upstream.revoked == []
    PendingRevocation.objects.update(try_at=timezone.now())
    tasks.retry_revocations.apply()
    assert upstream.revoked == BOTH


@pytest.mark.threat("B19", "B21")
@pytest.mark.django_db(transaction=True)
def test_the_collection_that_a_deactivation_hastens_tells_nobody_twice(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.make_vault_entry(alice, rotating)
    ran: list[Any] = []

    def collect_at_once(*_: Any, **__: Any) -> None:
        ran.append(tasks.collect_orphans.apply())
        ran.append(tasks.retry_revocations.apply())

    monkeypatch.setattr(tasks.collect_orphans, "delay", collect_at_once)
    report = offboarding.offboard(alice, keep_user=False, actor=None)
    assert ran
    assert report.connections == [("rotating", Outcome.REVOKED)]
    assert upstream.revoked == BOTH


@pytest.mark.threat("B17", "B21")
@pytest.mark.django_db(transaction=True)
def test_every_way_at_once_revokes_once_and_holds_nobody_up(
    alice: User, rotating: OAuthProvider, upstream: RotatingProvider
) -> None:
    factories.make_vault_entry(alice, rotating)
    token = factories.make_api_token(alice)
    ways = cycle(
        [
            lambda: offboarding.offboard(User.objects.get(pk=alice.pk), keep_user=False, actor=None).connections,
            lambda: revocation.disconnect(alice.pk, rotating.uid, reason="test", actor=alice),
            cleanup.collect_orphans,
            lambda: tokens.revoke_all(alice),
        ]
    )
    came_of_it = all_at_once(lambda: next(ways)())
    assert [each for each in came_of_it if isinstance(each, Exception)] == []
    retry = PendingRevocation.objects.update(try_at=timezone.now())
    tasks.retry_revocations.apply()
    assert upstream.revoked == BOTH, retry
    assert tokens.recognise(token) is None
    assert not VaultEntry.objects.exists()
    assert not User.objects.get(pk=alice.pk).is_active
