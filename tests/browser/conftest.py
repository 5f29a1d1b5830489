"""A real browser in front of the pages, and somebody who is signed in."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Page, sync_playwright
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from aigateway.demo.farside import FarSide, start_far_side
from aigateway.demo.mcpserver import REQUIRED_SCOPE
from aigateway.demo.processes import ProcessTree
from providers.models import OAuthProvider
from tests import factories

Opened = Callable[..., AbstractContextManager[Page]]
CHROMIUM = shutil.which("chromium")
DEMO, DEMO_NAME = "demo", "Demo Cloud"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="session")
def far_side(live_server: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarSide]:
    """The demo's authorization server and MCP server, which know this gateway's address."""
    folder = tmp_path_factory.mktemp("far-side")
    with ProcessTree(folder / "logs", say=lambda line: None) as tree:
        yield start_far_side(tree, folder, redirect_uris=[f"{live_server.url}/oauth/v1/callback/{DEMO}"])


@pytest.fixture
def demo(address: str, far_side: FarSide, alice: User) -> OAuthProvider:
    """The authorization server as a provider, with a server `files` that needs it and that alice may use."""
    factories.make_secret("DEMO_SECRET", far_side.client_secret)
    fields = {**far_side.provider_fields(), "display_name": DEMO_NAME, "scopes": ["profile"]}
    provider = OAuthProvider.objects.create(name=DEMO, client_secret_ref="DEMO_SECRET", **fields)
    server = factories.make_server("files", provider=provider, required_scopes=[REQUIRED_SCOPE])
    factories.allow(alice, server, "view", "use")
    return provider


@pytest.fixture
def address(live_server: LiveServer, settings: Settings) -> str:
    """Where the gateway serves; over plain http, so that cookies cannot be Secure."""
    settings.AIGW_BASE_URL = live_server.url
    settings.CSRF_TRUSTED_ORIGINS = [live_server.url]
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False
    return str(live_server.url)


@pytest.fixture
def opened(address: str, alice: User) -> Opened:
    """Open a browser as alice, or as `who`. Inside it the test may not use the ORM: the browser's loop runs in the
    same thread.
    """
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    name = django_settings.SESSION_COOKIE_NAME

    @contextmanager
    def opening(who: User = alice, **context: Any) -> Iterator[Page]:
        client = Client()
        client.force_login(who)
        cookie = {"name": name, "value": client.cookies[name].value, "url": address}
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            pages = browser.new_context(base_url=address, **context)
            pages.add_cookies([cookie])  # type: ignore[list-item]
            page = pages.new_page()
            page.set_default_timeout(20_000)
            yield page
            browser.close()

    return opening
