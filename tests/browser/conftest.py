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

Opened = Callable[..., AbstractContextManager[Page]]
CHROMIUM = shutil.which("chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture
def address(live_server: LiveServer, settings: Settings) -> str:
    """Where the gateway serves; over plain http, so that cookies cannot be Secure."""
    settings.AIGW_BASE_URL = live_server.url
    settings.CSRF_TRUSTED_ORIGINS = [live_server.url]
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False
    return str(live_server.url)


@pytest.fixture
def opened(address: str, alice: User) -> Opened:
    """Open a browser as alice. Inside it the test may not use the ORM: the browser's loop runs in the same thread."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    client = Client()
    client.force_login(alice)
    name = django_settings.SESSION_COOKIE_NAME
    cookie = {"name": name, "value": client.cookies[name].value, "url": address}

    @contextmanager
    def opening(**context: Any) -> Iterator[Page]:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            pages = browser.new_context(base_url=address, **context)
            pages.add_cookies([cookie])  # type: ignore[list-item]
            page = pages.new_page()
            page.set_default_timeout(20_000)
            yield page
            browser.close()

    return opening
