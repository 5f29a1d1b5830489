"""The one token of a service account: asked for once, kept sealed, renewed, and dropped with whatever it came from."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from audit.models import Event
from connections import cleanup, service_tokens, tasks
from connections.errors import ProviderNotFound, RefreshUnavailable, SecretMissing, ServiceAccountRefused
from mcpservers import authoring
from mcpservers.models import MCPServer
from providers.models import OAuthProvider
from tests import factories
from tests.connections import race_process
from tests.fakes.token_endpoint import TokenEndpoint
from vault import secrets
from vault.models import NOBODY, PendingRevocation, Secret, ServiceToken
from vault.sealing import open_sealed

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def far_side() -> Iterator[TokenEndpoint]:
    with TokenEndpoint() as running:
        yield running


@pytest.fixture
def server(far_side: TokenEndpoint, transactional_db: None) -> MCPServer:
    """A server whose client is its own."""
    factories.make_secret("ROBOT_SECRET", "robot-secret")
    return factories.make_server(auth=own_client(far_side))


@pytest.fixture
def provider(far_side: TokenEndpoint, transactional_db: None) -> OAuthProvider:
    return factories.make_provider("robots", **far_side.endpoints)


@pytest.fixture
def bound(provider: OAuthProvider) -> MCPServer:
    """A server that uses a provider's client."""
    auth = {"mode": "service_account_oauth", "provider_name": "robots", "scopes": ["read"]}
    return factories.make_server("bound", auth=auth, provider_uid=provider.uid)


def own_client(far_side: TokenEndpoint, **fields: Any) -> dict[str, Any]:
    return {
        "mode": "service_account_oauth",
        "client_id": "robot",
        "client_secret_ref": "ROBOT_SECRET",
        "token_endpoint": far_side.url(),
        "scopes": ["read", "write"],
        **fields,
    }


def use(server: MCPServer, **kwargs: Any) -> service_tokens.UsableServiceToken:
    return service_tokens.usable_token(server.uid, **kwargs)


def later(**fields: Any) -> None:
    """Move what is stored in time."""
    assert ServiceToken.objects.update(**fields)


def rotate(name: str, value: str, actor: User) -> None:
    secrets.write(Secret.objects.get(name=name), value, actor=actor)


@pytest.mark.spec("RFC 6749", "4.4.2")
def test_a_token_is_asked_for_once_and_kept_sealed(server: MCPServer, far_side: TokenEndpoint) -> None:
    assert [use(server).access_token for _ in range(3)] == ["access-1"] * 3
    (request,) = far_side.token_requests
    assert request.form == {"grant_type": "client_credentials", "scope": "read write"}
    assert request.client == ("robot", "robot-secret")
    row = ServiceToken.objects.get()
    assert b"access-1" not in row.access_token.ciphertext
    assert open_sealed(row, "access_token") == "access-1"
    assert Event.objects.filter(action="service_token.obtained", target="tools").count() == 1
    assert not Event.objects.filter(data__icontains="access-1").exists()


@pytest.mark.spec("RFC 8707", "2")
def test_the_resource_is_sent_where_one_is_set(server: MCPServer, bound: MCPServer, far_side: TokenEndpoint) -> None:
    MCPServer.objects.filter(pk=server.pk).update(auth=own_client(far_side, resource="https://mcp.example.com"))
    use(server)
    OAuthProvider.objects.update(resource="https://provider.example.com")
    use(bound)
    sent = [request.form["resource"] for request in far_side.token_requests]
    assert sent == ["https://mcp.example.com", "https://provider.example.com"]


@pytest.mark.threat("B22", "B23")
@pytest.mark.spec("RFC 6749", "2.3.1")
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
def test_every_way_to_authenticate_the_client(server: MCPServer, far_side: TokenEndpoint, method: str) -> None:
    odd = "r: %ö+bot"
    factories.make_secret("ODD_SECRET", "s: %ö+t")
    secret = {} if method == "none" else {"client_secret_ref": "ODD_SECRET"}
    auth = own_client(far_side, client_id=odd, token_endpoint_auth_method=method)
    del auth["client_secret_ref"]
    MCPServer.objects.filter(pk=server.pk).update(auth={**auth, **secret})
    far_side.accept_only(odd, None if method == "none" else "s: %ö+t")
    assert use(server).access_token == "access-1"
    (request,) = far_side.token_requests
    assert ("authorization" in request.headers) is (method == "client_secret_basic")
    assert ("client_secret" in request.form) is (method == "client_secret_post")


@pytest.mark.threat("B01")
def test_sixty_four_callers_in_two_processes_cost_one_request(server: MCPServer, far_side: TokenEndpoint) -> None:
    tokens = {"access_token": "access-1", "token_type": "Bearer", "expires_in": 3600}
    far_side.will(fields=tokens, after_seconds=0.3)
    name = str(connection.settings_dict["NAME"])
    racers = [racer(name, server) for _ in range(2)]
    try:
        for each in racers:
            say(each, "go")
        answers = [line for each in racers for line in each.communicate(timeout=60)[0].split()]
    finally:
        for each in racers:
            each.kill()
            each.wait()
    assert answers == ["access-1"] * 2 * race_process.THREADS
    assert len(far_side.token_requests) == 1


def racer(database_name: str, server: MCPServer) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", race_process.__name__, database_name, "service", str(server.uid)]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def say(started: "subprocess.Popen[str]", word: str) -> None:
    assert started.stdin is not None
    started.stdin.write(f"{word}\n")
    started.stdin.flush()


@pytest.mark.threat("B04")
def test_the_lease_of_a_killed_process_lapses_and_the_next_call_succeeds(
    server: MCPServer, far_side: TokenEndpoint, settings: Settings
) -> None:
    far_side.will(after_seconds=30, fields={})
    with racer(str(connection.settings_dict["NAME"]), server) as started:
        say(started, "go")
        wait_until(lambda: len(far_side.token_requests) == 1)
        os.kill(started.pid, signal.SIGKILL)
    row = ServiceToken.objects.get()
    assert row.lease_holder
    assert row.lease_until is not None
    assert row.lease_until <= timezone.now() + timedelta(seconds=60)
    later(lease_until=timezone.now() + timedelta(seconds=0.3))
    assert use(server).access_token == "access-1"
    assert len(far_side.token_requests) == 2


def wait_until(is_true: Any) -> None:
    ends = time.monotonic() + 20
    while not is_true():
        assert time.monotonic() < ends
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"status": 500}, "status_500"),
        ({"status": 429, "headers": {"Retry-After": "120"}}, "rate_limited"),
        ({"hang_up": True}, "network"),
        ({"after_seconds": 3, "fields": {}}, "timeout"),
        ({"body": b"<html>sign in</html>"}, "not_json"),
        ({"fields": {"token_type": "Bearer"}}, "no_access_token"),
        ({"fields": {"access_token": "a\r\nX: y", "token_type": "Bearer"}}, "access_token"),
        ({"status": 302, "headers": {"Location": "https://other.example.com/"}}, "redirect"),
        ({"status": 503, "fields": {"access_token": "access-0", "token_type": "Bearer"}}, "status_503"),
    ],
)
@pytest.mark.threat("B07", "B09", "B10", "B11")
def test_a_token_endpoint_that_misbehaves_is_left_alone_for_a_while(
    server: MCPServer, far_side: TokenEndpoint, settings: Settings, answer: dict[str, Any], why: str
) -> None:
    settings.AIGW_TOKEN_ENDPOINT_TIMEOUT_SECONDS = 1
    far_side.will(**answer)
    with pytest.raises(RefreshUnavailable) as refused:
        use(server)
    assert refused.value.why == why
    for _ in range(5):
        with pytest.raises(RefreshUnavailable):
            use(server)
    assert len(far_side.token_requests) == 1
    assert ServiceToken.objects.get().access_token is None
    shown = service_tokens.standing(server.uid)
    assert (shown.last_error, shown.is_refused) == (why, False)
    row = ServiceToken.objects.get()
    assert row.retry_at is not None
    assert row.retry_at >= timezone.now() + timedelta(seconds=110 if why == "rate_limited" else 25)


@pytest.mark.threat("B08")
def test_a_retry_after_counts_for_every_server_of_the_same_endpoint(server: MCPServer, far_side: TokenEndpoint) -> None:
    other = factories.make_server("other", auth=own_client(far_side, client_id="another"))
    far_side.will(status=429, headers={"Retry-After": "30"})
    for each in (server, other):
        with pytest.raises(RefreshUnavailable):
            use(each)
    assert len(far_side.token_requests) == 1


@pytest.mark.threat("B07")
def test_a_token_that_still_works_is_used_while_the_endpoint_is_down(
    server: MCPServer, far_side: TokenEndpoint
) -> None:
    use(server)
    now = timezone.now()
    later(obtained_at=now - timedelta(minutes=10), expires_at=now + timedelta(seconds=20))
    far_side.will(status=500, times=None)
    assert use(server).access_token == "access-1"
    assert use(server).access_token == "access-1"
    assert len(far_side.token_requests) == 2
    later(expires_at=timezone.now())
    with pytest.raises(RefreshUnavailable):
        use(server)


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client", "invalid_scope"])
def test_a_refused_client_is_said_so_and_not_tried_over_and_over(
    server: MCPServer, far_side: TokenEndpoint, admin: User, error: str
) -> None:
    far_side.will(status=401, fields={"error": error})
    for _ in range(5):
        with pytest.raises(ServiceAccountRefused) as refused:
            use(server)
        assert refused.value.why == error
    assert len(far_side.token_requests) == 1
    assert service_tokens.standing(server.uid).is_refused
    rotate("ROBOT_SECRET", "the right one", admin)
    assert use(server).access_token == "access-1"
    assert not service_tokens.standing(server.uid).is_refused


def test_a_provider_that_refuses_its_client_is_in_trouble_for_everyone(
    bound: MCPServer, provider: OAuthProvider, far_side: TokenEndpoint
) -> None:
    far_side.will(status=401, fields={"error": "invalid_client"})
    with pytest.raises(ServiceAccountRefused):
        use(bound)
    assert Event.objects.filter(action="provider.client_rejected", target="robots").count() == 1


def test_a_client_without_this_grant_is_nothing_that_users_would_notice(
    bound: MCPServer, provider: OAuthProvider, far_side: TokenEndpoint
) -> None:
    far_side.will(status=400, fields={"error": "unauthorized_client"})
    with pytest.raises(ServiceAccountRefused):
        use(bound)
    assert not Event.objects.filter(action="provider.client_rejected").exists()


@pytest.mark.threat("B13", "B14")
def test_a_refused_token_is_replaced_once_a_minute_and_no_more(server: MCPServer, far_side: TokenEndpoint) -> None:
    far_side.will(fields={"access_token": "endless", "token_type": "Bearer"})
    first = use(server)
    assert (first.access_token, first.usable_until) == ("endless", None)
    assert use(server).access_token == "endless"
    second = use(server, rejected_generation=first.generation)
    assert second.access_token == "access-1"
    assert use(server, rejected_generation=first.generation) == second
    with pytest.raises(ServiceAccountRefused) as refused:
        use(server, rejected_generation=second.generation)
    assert refused.value.why == service_tokens.UPSTREAM_REJECTED
    assert len(far_side.token_requests) == 2
    later(rejected_at=timezone.now() - timedelta(minutes=2))
    assert use(server, rejected_generation=second.generation).access_token == "access-2"


def test_a_rotated_secret_makes_another_token(server: MCPServer, far_side: TokenEndpoint, admin: User) -> None:
    assert use(server).access_token == "access-1"
    rotate("ROBOT_SECRET", "new", admin)
    assert use(server).access_token == "access-2"
    assert far_side.token_requests[1].client == ("robot", "new")


def test_a_secret_that_is_gone_stops_the_calls(server: MCPServer, far_side: TokenEndpoint) -> None:
    use(server)
    Secret.objects.all().delete()
    with pytest.raises(SecretMissing) as missing:
        use(server)
    assert missing.value.secret_name == "ROBOT_SECRET"
    assert service_tokens.drop_stale() == 1
    assert not ServiceToken.objects.exists()


@pytest.mark.threat("A18")
def test_another_client_of_the_provider_cuts_the_token_off_and_sends_it_nowhere(
    bound: MCPServer, provider: OAuthProvider, far_side: TokenEndpoint
) -> None:
    assert use(bound).access_token == "access-1"
    OAuthProvider.objects.filter(pk=provider.pk).update(client_id="another")
    assert use(bound).access_token == "access-2"
    tasks.retry_revocations()
    assert far_side.received("/revoke") == []
    assert not PendingRevocation.objects.exists()


def test_a_disabled_a_deleted_and_a_replaced_provider_refuse(bound: MCPServer, provider: OAuthProvider) -> None:
    use(bound)
    OAuthProvider.objects.filter(pk=provider.pk).update(enabled=False)
    with pytest.raises(ProviderNotFound) as refused:
        use(bound)
    assert refused.value.why == "disabled"
    assert service_tokens.drop_stale() == 0
    provider.delete()
    factories.make_provider("robots", token_endpoint=provider.token_endpoint)
    with pytest.raises(ProviderNotFound) as refused:
        use(bound)
    assert refused.value.why == "gone"


def test_a_deleted_provider_is_told_before_its_last_trace_goes(
    bound: MCPServer, provider: OAuthProvider, far_side: TokenEndpoint
) -> None:
    use(bound)
    factories.bury(provider)
    assert OAuthProvider.everything.filter(pk=provider.pk).exists()
    cleanup.collect_orphans()
    tasks.retry_revocations()
    assert [request.form["token"] for request in far_side.received("/revoke")] == ["access-1"]
    cleanup.collect_orphans()
    assert not OAuthProvider.everything.filter(pk=provider.pk).exists()
    assert not ServiceToken.objects.exists()


@pytest.mark.parametrize("how", ["changed", "deleted", "other_mode"])
def test_a_server_that_changes_or_goes_takes_its_token_along(
    bound: MCPServer, far_side: TokenEndpoint, superuser: User, how: str
) -> None:
    use(bound)
    if how == "deleted":
        authoring.delete(superuser, bound)
    else:
        changed = {"scopes": ["other"]} if how == "changed" else {}
        bound.auth = {**bound.auth, **changed} if changed else {"mode": "none"}
        bound.url = "http://127.0.0.1:9/mcp"
        authoring.save(superuser, bound)
    assert not ServiceToken.objects.exists()
    assert PendingRevocation.objects.get().user_id == NOBODY
    tasks.retry_revocations()
    assert [request.form["token"] for request in far_side.received("/revoke")] == ["access-1"]


def test_an_answer_that_comes_after_the_change_is_not_used(
    bound: MCPServer, far_side: TokenEndpoint, provider: OAuthProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from connections import service_requests

    ask = service_requests.oauth2.client_credentials

    def change_meanwhile(*args: Any, **kwargs: Any) -> Any:
        answer = ask(*args, **kwargs)
        service_tokens.drop(bound.uid, reason="test")
        return answer

    monkeypatch.setattr(service_requests.oauth2, "client_credentials", change_meanwhile)
    with pytest.raises(RefreshUnavailable):
        use(bound)
    assert not ServiceToken.objects.exists()
    assert PendingRevocation.objects.get().reason == "late_service_token"


def test_the_scan_renews_ahead_what_was_used(server: MCPServer, far_side: TokenEndpoint) -> None:
    use(server)
    due = timezone.now() - timedelta(seconds=1)
    later(refresh_due_at=due)
    tasks.refresh_service_tokens()
    assert len(far_side.token_requests) == 1
    later(last_used_at=timezone.now())
    tasks.refresh_service_tokens()
    assert len(far_side.token_requests) == 2
    assert use(server).access_token == "access-2"
    tasks.refresh_service_tokens()
    assert len(far_side.token_requests) == 2


@pytest.mark.threat("C02")
def test_a_token_that_was_moved_does_not_open(server: MCPServer, far_side: TokenEndpoint) -> None:
    other = factories.make_server("other", auth=own_client(far_side))
    use(server)
    use(other)
    stolen = ServiceToken.objects.get(server_uid=other.uid).access_token
    ServiceToken.objects.filter(server_uid=server.uid).update(access_token=stolen)
    with pytest.raises(RefreshUnavailable):
        use(server)
    assert Event.objects.filter(action="service_token.unreadable").exists()
    assert use(server).access_token == "access-3"
