"""What every page tells a browser, and what people are told when something goes wrong."""

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import path

from aigateway.urls import urlpatterns as real_patterns
from tests import factories


def broken(request: object) -> None:
    """Fail as a bug would."""
    raise RuntimeError("c4nary-secret")


urlpatterns = [path("broken/", broken), *real_patterns]
PAGES = ["/sign-in/", "/connections/", "/connections/github/disconnect/", "/", "/nowhere/", "/oauth/v1/authorize"]
PAGES += ["/servers/", "/servers/tools/", "/servers/tools/?tab=connect", "/servers/tools/?tab=inspector", "/tokens/"]
FORMLESS = {
    "default-src 'self'",
    "script-src 'self'",
    "style-src 'self'",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
}


def policy(response: object) -> set[str]:
    """Return the directives of the answer's content security policy."""
    return {part.strip() for part in response.headers["Content-Security-Policy"].split(";")}


@pytest.mark.threat("A15", "F15")
@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("is_signed_in", [True, False])
def test_every_page_is_strict_private_and_unframed(browser: Client, alice: User, path: str, is_signed_in: bool) -> None:
    factories.make_vault_entry(alice, factories.make_provider())
    factories.allow(alice, factories.make_server(), "view", "use")
    if is_signed_in:
        browser.force_login(alice)
    response = browser.get(path)
    assert policy(response) >= FORMLESS
    assert not any("unsafe" in directive for directive in policy(response))
    assert "no-store" in response["Cache-Control"]
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] in {"same-origin", "no-referrer"}
    assert response["X-Request-ID"]


@pytest.mark.threat("A15")
@pytest.mark.parametrize("path", ["/admin/", "/admin/login/"])
def test_the_admin_has_a_policy_of_its_own_and_is_unframed_too(browser: Client, superuser: User, path: str) -> None:
    browser.force_login(superuser)
    directives = policy(browser.get(path))
    assert "script-src 'self' 'unsafe-inline' 'unsafe-eval'" in directives
    assert {"frame-ancestors 'none'", "object-src 'none'", "form-action 'self'", "base-uri 'none'"} <= directives


def test_the_admins_sign_in_is_the_gateways_own(browser: Client, alice: User) -> None:
    location = browser.get("/admin/login/?next=/admin/").get("Location", "")
    assert location.startswith("/sign-in/?next=/admin/")
    assert browser.get("/admin/")["Location"].startswith(("/sign-in/", "/admin/login/"))


def test_whoever_may_not_enter_the_admin_is_told_so_and_not_sent_in_circles(browser: Client, alice: User) -> None:
    browser.force_login(alice)
    response = browser.get("/admin/", follow=True)
    assert response.status_code == 403


def test_an_unlisted_host_gets_400_and_a_page(browser: Client, db: None) -> None:
    response = browser.get("/sign-in/", headers={"host": "evil.example"})
    assert response.status_code == 400
    assert "This request cannot be answered" in response.content.decode()
    assert "frame-ancestors 'none'" in policy(response)


def test_an_unknown_address_says_so_and_the_way_out(browser: Client, db: None) -> None:
    response = browser.get("/<script>x</script>/", headers={"x-request-id": "seen-on-the-page-1"})
    text = response.content.decode()
    assert response.status_code == 404
    assert "There is nothing at this address" in text
    assert "<script" not in text
    assert "seen-on-the-page-1" in text
    assert 'href="/connections/"' in text


@pytest.mark.threat("H07")
@override_settings(ROOT_URLCONF="tests.test_page_headers")
def test_a_fault_shows_the_request_id_and_nothing_of_the_fault(browser: Client, alice: User) -> None:
    browser.force_login(alice)
    browser.raise_request_exception = False
    response = browser.get("/broken/", headers={"x-request-id": "seen-on-the-page-2"})
    text = response.content.decode()
    assert response.status_code == 500
    assert "The gateway could not finish this" in text
    assert "seen-on-the-page-2" in text
    assert "c4nary" not in text
    assert "RuntimeError" not in text
    assert policy(response) >= FORMLESS
