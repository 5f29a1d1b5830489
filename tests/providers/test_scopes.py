"""Granted scopes, in the words in which they were asked."""

import pytest

from providers.scopes import in_asked_words

pytestmark = pytest.mark.threat("A16")
GRAPH = "https://graph.microsoft.com"
MAIL = "https://www.googleapis.com/auth/userinfo.email"


def granted(told, asked, *, has_refresh_token=False, quirks=frozenset()):
    return in_asked_words(told, asked=asked, has_refresh_token=has_refresh_token, quirks=quirks)


@pytest.mark.parametrize(
    ("told", "asked", "meant"),
    [
        (["read"], ["read", "write"], ["read"]),
        (["read", "admin"], ["read"], ["read", "admin"]),
        (["read", "admin"], [], ["read", "admin"]),
        ([MAIL], ["email"], ["email"]),
        (["email"], [MAIL], [MAIL]),
        ([MAIL], ["email", MAIL], ["email", MAIL]),
        ([MAIL], ["profile"], [MAIL]),
        ([f"{GRAPH}/User.Read"], ["User.Read"], ["User.Read"]),
        (["User.Read"], [f"{GRAPH}/User.Read"], [f"{GRAPH}/User.Read"]),
        ([f"{GRAPH}/Mail.Read"], ["Mail.ReadWrite"], [f"{GRAPH}/Mail.Read"]),
        (["https://evil.example/User.Read"], ["User.Read"], ["https://evil.example/User.Read"]),
        (["User.Read"], [f"{GRAPH}/.default"], [f"{GRAPH}/.default", "User.Read"]),
        (["api://app/do"], ["api://app/.default"], ["api://app/.default", "api://app/do"]),
        (["openid"], ["api://app/.default"], ["openid"]),
        (["repo"], ["public_repo"], ["repo"]),
    ],
)
def test_a_scope_under_another_of_its_names_is_granted_and_nothing_else_is(told, asked, meant):
    assert granted(told, asked) == meant


@pytest.mark.parametrize("name", ["offline_access", "refresh_token"])
def test_a_refresh_token_grants_the_scope_that_asks_for_one(name):
    assert granted(["api"], ["api", name]) == ["api"]
    assert granted(["api"], ["api", name], has_refresh_token=True) == ["api", name]


def test_a_wide_scope_grants_the_narrow_ones_where_the_preset_says_so():
    asked = ["read:org", "user:email", "gist"]
    assert granted(["admin:org", "user"], asked) == ["admin:org", "user"]
    found = granted(["admin:org", "user"], asked, quirks=frozenset(["github_scopes"]))
    assert found == ["read:org", "user:email", "admin:org", "user"]
