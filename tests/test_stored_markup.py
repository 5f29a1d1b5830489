"""Names and descriptions that hold markup, on every page that shows them: they are shown as text."""

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import FileField, Model
from django.test import Client
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from audit import trail
from clients.models import ApiToken
from connections import consent
from mcpservers.models import MCPServer
from tests import factories
from vault.models import Secret

MARKUP = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}"
SCRIPT_ADDRESS = "javascript:alert(1)//"
OURS = {"audit", "changes", "clients", "connections", "mcpservers", "metrics", "providers", "vault"}
PER_OBJECT = ("change", "delete", "history", "detail", "rights_page", "tools")


class Elements(HTMLParser):
    """Collects what a browser would run: elements and attributes made of the stored text, and addresses that run."""

    def __init__(self) -> None:
        super().__init__()
        self.live: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "onerror" in given or given.get("src") == "x":
            self.live.append(f"{tag} {sorted(given)}")
        for name in ("href", "src", "action", "formaction"):
            if given.get(name, "").lower().startswith("javascript:"):
                self.live.append(f"{tag} {name}")
        # What the admin's theme evaluates as an expression.
        self.live += [
            f"{tag} {name}" for name, value in given.items() if name[:1] in {"x", "@", ":"} and "alert" in value
        ]

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script" and "alert(1)" in data:
            self.live.append("script")


@pytest.fixture
def marked(superuser: User, alice: User) -> dict[str, Model]:
    """Everything that has a name or a description, with markup in it, past every check of a form."""
    provider = factories.make_provider(
        "github",
        display_name=MARKUP,
        scopes=[MARKUP],
        client_id=MARKUP,
        authorize_params={MARKUP: MARKUP},
        userinfo_endpoint=SCRIPT_ADDRESS,
        account_claim=MARKUP,
    )
    tools = [{"name": MARKUP, "title": MARKUP, "description": MARKUP, "inputSchema": {"properties": {MARKUP: {}}}}]
    server = factories.make_server(
        provider=provider,
        required_scopes=[MARKUP],
        description=MARKUP,
        url=SCRIPT_ADDRESS,
        tools=tools,
        tools_refreshed_at=timezone.now(),
        discovery_error=MARKUP,
    )
    Secret.objects.update(description=MARKUP)
    User.objects.filter(pk=alice.pk).update(username=MARKUP[:150], first_name=MARKUP[:60], email=MARKUP)
    group = Group.objects.create(name=MARKUP)
    entry = factories.make_vault_entry(alice, provider, account=MARKUP, scopes_granted=[MARKUP])
    factories.make_vault_entry(superuser, provider, account=MARKUP, scopes_granted=[MARKUP], attention_reason="idle")
    factories.make_api_token(alice, MARKUP)
    factories.allow(User.objects.get(pk=alice.pk), provider, "view")
    trail.record("oauth_provider.changed", actor=alice, target_type="oauth_provider", target=MARKUP, why=MARKUP)
    return {"provider": provider, "server": server, "group": group, "entry": entry}


@pytest.fixture
def root(browser: Client, superuser: User) -> Client:
    browser.force_login(superuser)
    return browser


def shown(client: Client, url: str) -> str:
    """Return a page that holds the stored text as text only; fail when any of it would run."""
    answer = client.get(url)
    assert answer.status_code < 500, url
    text: str = answer.content.decode()
    elements = Elements()
    elements.feed(text)
    assert elements.live == [], url
    assert "<script>alert" not in text, url
    return text


def admin_addresses() -> Iterator[str]:
    """Yield the lists of the admin and every page of every object in them."""
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield f"{reverse(f'{name}_changelist')}?q=script"
        yield reverse(f"{name}_changelist")
        for what, pk in [(what, row.pk) for row in model._default_manager.all()[:5] for what in PER_OBJECT]:
            try:
                yield reverse(f"{name}_{what}", args=[pk])
            except NoReverseMatch:
                continue


@pytest.mark.threat("F15")
def test_no_page_of_the_admin_runs_what_is_stored(root: Client, marked: dict[str, Any]) -> None:
    addresses = ["/admin/", *admin_addresses()]
    assert len(addresses) > 40
    text = "".join(shown(root, url) for url in addresses)
    assert text.count("&lt;script&gt;alert(1)") > 30
    assert {"detail", "change", "delete", "history"} <= {url.rstrip("/").rpartition("/")[2] for url in addresses}


@pytest.mark.threat("F15")
def test_no_form_of_the_admin_runs_what_was_typed(root: Client, marked: dict[str, Any]) -> None:
    for model, sent in ((MCPServer, {"auth_mode": MARKUP, "url": MARKUP}), (Secret, {"description": MARKUP})):
        for url in (
            reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add"),
            reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist") + f"?q={MARKUP}",
        ):
            root.get(url)
            answer = root.post(url, {**sent, "name": MARKUP, "csrfmiddlewaretoken": root.cookies["aigw_csrf"].value})
            elements = Elements()
            elements.feed(answer.content.decode())
            assert elements.live == [], url


@pytest.mark.threat("F15")
def test_no_page_of_a_user_runs_what_is_stored(browser: Client, marked: dict[str, Any], alice: User) -> None:
    alice.refresh_from_db()
    factories.allow(alice, marked["server"], "view", "use")
    browser.force_login(alice)
    provider = marked["provider"]
    link = consent.offer_url(user_id=alice.pk, provider=provider, scopes=[MARKUP], server_name=MARKUP)
    addresses = [
        "/connections/",
        "/connections/github/disconnect/",
        "/servers/",
        f"/servers/?q={MARKUP}",
        "/servers/tools/",
        f"/servers/tools/?q={MARKUP}",
        "/servers/tools/?tab=connect",
        "/tokens/",
        f"/tokens/{ApiToken.objects.get(user=alice).uid}/revoke/",
        link.removeprefix("https://gateway.test"),
        link.removeprefix("https://gateway.test") + "x",
        "/oauth/v1/done/github",
        f"/oauth/v1/callback/github?error={MARKUP}&error_description={MARKUP}&state=x",
        f"/connections/{MARKUP}/",
        f"/sign-in/?next={MARKUP}",
    ]
    text = "".join(shown(browser, url) for url in addresses)
    assert text.count("&lt;script&gt;alert(1)") > 15


@pytest.mark.threat("F15")
def test_the_api_answers_with_no_type_that_a_browser_renders(root: Client, marked: dict[str, Any]) -> None:
    for resource in ("oauth-providers", "mcp-servers", "connections", "secrets"):
        answer = root.get(f"/api/v1/{resource}/", headers={"accept": "text/html"})
        assert answer["Content-Type"].startswith("application/json"), resource
        assert answer["X-Content-Type-Options"] == "nosniff"


@pytest.mark.threat("F16")
def test_nobody_can_have_a_picture_served_from_here(alice: User, browser: Client) -> None:
    """A provider's tile is a letter: there is no icon to upload, to link or to send on."""
    ours = [model for model in apps.get_models() if model.__module__.split(".")[0] in OURS]
    assert ours
    for field in (field for model in ours for field in model._meta.get_fields()):
        assert not isinstance(field, FileField), field
        assert not {"icon", "logo", "image", "avatar", "picture"} & set(field.name.split("_")), field
    factories.allow(alice, factories.make_server(provider=factories.make_provider("github")), "view", "use")
    browser.force_login(alice)
    for path in ("/connections/", "/servers/", "/servers/tools/"):
        answer = browser.get(path)
        assert "<img" not in answer.content.decode()
        assert "img-src 'self' data:" in answer["Content-Security-Policy"]
    assert browser.get("/media/icon.svg").status_code == 404
