"""The browser steps of the guides: `python -m tests.guide_browser consent|add-user [WHO]`; settings say the rest."""

import os
import re
import sys
from pathlib import Path

from aigateway.demo.browser import Browser

LINK = re.compile(r'http[^"\s]+/oauth/v1/authorize\?[^"\s]+')
GATEWAY_PASSWORD = "correct horse battery staple"
ADMIN = "admin"


def consent(browser: Browser, who: str) -> None:
    """Open the last link that was printed, sign in, and allow what is asked, as alice at the provider."""
    link = LINK.findall(Path(os.environ["GUIDE_OUTPUT"]).read_text())[-1]
    browser.open(link)
    browser.sign_in(who, GATEWAY_PASSWORD)
    browser.press("Connect")
    if browser.asks_to_sign_in():
        browser.sign_in("alice", os.environ["GUIDE_PROVIDER_PASSWORD"])
    done = browser.press("Allow")
    assert "/oauth/v1/done/" in done.url, repr(done)


def add_user(browser: Browser, who: str) -> None:
    """Make a user on the admin's pages."""
    browser.open(f"{os.environ['GUIDE_GATEWAY']}/admin/auth/user/add/")
    browser.sign_in(ADMIN, GATEWAY_PASSWORD)
    made = browser.press("Save", {"username": who, "password1": GATEWAY_PASSWORD, "password2": GATEWAY_PASSWORD})
    assert "/change/" in made.url, repr(made)


if __name__ == "__main__":
    with Browser() as opened:
        {"consent": consent, "add-user": add_user}[sys.argv[1]](opened, sys.argv[2] if len(sys.argv) > 2 else ADMIN)
