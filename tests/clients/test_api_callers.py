"""Who may call the API, and what it says to everybody else."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from clients import tokens
from clients.models import ApiToken
from tests import factories
from tests.api import CONNECTIONS, SECRETS, client_of, findings, send


def get(token: str, scheme: str = "Bearer") -> tuple[int, object, str]:
    client = Client(headers={"host": "gateway.test", "authorization": f"{scheme} {token}"})
    answer = client.get(CONNECTIONS, secure=True)
    return answer.status_code, answer.headers.get("WWW-Authenticate"), answer.content.decode()


def test_without_a_token_the_answer_says_where_to_get_one(db: None) -> None:
    answer = send(None, "get", CONNECTIONS)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert findings(answer) == [("not_authenticated", None)]
    assert "manage.py create_token USER" in answer.json()["errors"][0]["detail"]


@pytest.mark.threat("F01")
@pytest.mark.parametrize("name", ["access_token", "token", "api_key"])
def test_a_token_in_the_query_string_is_ignored(
    alice: User, name: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    token = factories.make_api_token(alice)
    answer = client_of(None).get(f"{CONNECTIONS}?{name}={token}")
    assert answer.status_code == 401
    assert token not in caplog.text
    assert token not in "".join(capfd.readouterr())
    assert ApiToken.objects.get().last_used_at is None


@pytest.mark.threat("F02")
def test_a_token_that_is_wrong_expired_revoked_or_of_an_inactive_user_gets_one_answer(alice: User, bob: User) -> None:
    expired = tokens.create(alice, name="old", expires_at=timezone.now() - timedelta(seconds=1))[1]
    row, revoked = tokens.create(alice, name="gone")
    tokens.revoke(row)
    of_inactive = factories.make_api_token(bob)
    User.objects.filter(pk=bob.pk).update(is_active=False)
    answers = {get(token) for token in ("nonsense", "aigw_x", expired, revoked, of_inactive, "")}
    assert len(answers) == 1
    status, challenge, _ = answers.pop()
    assert (status, challenge) == (401, "Bearer")


@pytest.mark.threat("F04")
def test_a_token_is_kept_as_a_digest_found_by_prefix_and_dead_at_once_when_revoked(alice: User) -> None:
    token = factories.make_api_token(alice)
    row = ApiToken.objects.get(prefix=token[:11])
    assert token not in "".join(map(str, vars(row).values()))
    assert get(token)[0] == 200
    assert get(token, "bearer")[0] == 200
    tokens.revoke(row)
    assert get(token)[0] == 401


def test_a_session_may_read_and_needs_csrf_to_write(alice: User, browser: Client) -> None:
    factories.make_provider()
    browser.force_login(alice)
    assert browser.get(CONNECTIONS).status_code == 200
    refused = browser.post(f"{CONNECTIONS}github/authorize/")
    assert (refused.status_code, findings(refused)) == (403, [("permission_denied", None)])
    assert "CSRF" in refused.json()["errors"][0]["detail"]


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
@pytest.mark.parametrize(
    "path", ["", "nowhere/", "secrets", "secrets/lower-case/", "oauth-provider-preset/", "secrets/A%00/"]
)
def test_an_address_that_is_none_is_a_404_of_the_apis_shape(alice: User, method: str, path: str) -> None:
    answer = send(alice, method, f"/api/v1/{path}")
    assert (answer.status_code, findings(answer)) == (404, [("not_found", None)])


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        ('{"name":', "application/json", (400, "parse_error")),
        ("[" * 100_000, "application/json", (400, "parse_error")),
        ("[]", "application/json", (400, "invalid")),
        ("name=MCP_KEY", "application/x-www-form-urlencoded", (415, "unsupported_media_type")),
    ],
)
def test_a_body_that_is_no_json_object_is_said_so(
    admin: User, body: str, content_type: str, expected: tuple[int, str]
) -> None:
    answer = client_of(admin).post(SECRETS, body, content_type=content_type)
    assert (answer.status_code, findings(answer)[0][0]) == expected


def test_the_api_describes_itself_without_anyone_elses_help(alice: User) -> None:
    schema = send(None, "get", "/api/v1/schema/").json()
    assert schema["openapi"].startswith("3.1")
    assert "/api/v1/mcp-servers/{name}/tools/{tool}/call/" in schema["paths"]
    page = client_of(None).get("/api/v1/docs/")
    html = page.content.decode()
    assert page.status_code == 200
    assert "POST /api/v1/secrets/" in html
    assert "<script" not in html
    assert "https://" not in html


@pytest.mark.threat("A13")
def test_links_between_pages_come_from_the_public_address(admin: User) -> None:
    for name in ("first", "second", "third"):
        factories.make_server(name)
    client = Client(headers={"host": "gateway.test:8080", "authorization": f"Bearer {factories.make_api_token(admin)}"})
    page = client.get("/api/v1/mcp-servers/?page=2&page_size=1").json()
    assert page["next"] == "https://gateway.test/api/v1/mcp-servers/?page=3&page_size=1"
    assert page["previous"] == "https://gateway.test/api/v1/mcp-servers/?page_size=1"


def test_a_body_that_is_too_large_is_refused_as_that(admin: User) -> None:
    answer = send(admin, "post", SECRETS, {"name": "BIG", "value": "x" * 5_000_000})
    assert (answer.status_code, answer.json()["type"]) == (413, "client_error")
    assert findings(answer) == [("too_large", None)]
