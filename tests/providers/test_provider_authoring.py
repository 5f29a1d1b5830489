"""Saving a provider: with a secret made in the same step, and switching it on and off."""

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from guardian.shortcuts import assign_perm

from clients import rights
from providers import authoring, registry
from providers.models import OAuthProvider
from providers.new_secret import NewSecret
from tests import factories
from vault import secrets
from vault.models import Secret

VALUE = "canary-value-7e1f"


def unsaved(**fields: object) -> OAuthProvider:
    defaults: dict[str, object] = {
        "name": "github",
        "display_name": "GitHub",
        "authorization_endpoint": "https://127.0.0.1/authorize",
        "token_endpoint": "https://127.0.0.1/token",
        "client_id": "gateway",
        "client_secret_ref": "GITHUB_CLIENT_SECRET",
    }
    return OAuthProvider(**{**defaults, **fields})


def test_the_secret_and_the_provider_are_saved_together(admin: User) -> None:
    authoring.save(admin, unsaved(), new_secret=NewSecret("GITHUB_CLIENT_SECRET", VALUE))
    assert secrets.read("GITHUB_CLIENT_SECRET", purpose="test") == VALUE
    assert OAuthProvider.objects.exists()
    assert rights.may(admin, "use", Secret.objects.get())


@pytest.mark.threat("C07")
def test_a_new_secret_does_not_show_its_value() -> None:
    assert VALUE not in repr(NewSecret("A", VALUE))


def test_a_provider_that_is_refused_leaves_no_secret(alice: User) -> None:
    alice.groups.add(Group.objects.create(name="secret-makers"))
    assign_perm("vault.add_secret", alice)  # but may add no provider
    with pytest.raises(rights.PermissionRefused):
        authoring.save(alice, unsaved(), new_secret=NewSecret("GITHUB_CLIENT_SECRET", VALUE))
    assert not Secret.objects.exists()


@pytest.mark.threat("F07")
def test_a_secret_that_may_not_be_made_leaves_no_provider(alice: User) -> None:
    assign_perm("providers.add_oauthprovider", alice)
    with pytest.raises(rights.PermissionRefused) as refused:
        authoring.save(alice, unsaved(), new_secret=NewSecret("GITHUB_CLIENT_SECRET", VALUE))
    assert (refused.value.code, refused.value.attr) == ("permission_denied", "new_secret_name")
    assert "vault.add_secret" in refused.value.detail
    assert not OAuthProvider.everything.exists()
    assert not Secret.objects.exists()


@pytest.mark.parametrize(("name", "value"), [("github secret", VALUE), ("TAKEN", VALUE), ("FREE", "x" * 20000)])
def test_a_secret_that_is_refused_leaves_nothing_behind(admin: User, name: str, value: str) -> None:
    factories.make_secret("TAKEN", "what was there")
    with pytest.raises(ValidationError):
        authoring.save(admin, unsaved(client_secret_ref=name), new_secret=NewSecret(name, value))
    assert not OAuthProvider.everything.exists()
    assert list(Secret.objects.values_list("name", flat=True)) == ["TAKEN"]
    assert secrets.read("TAKEN", purpose="test") == "what was there"


def test_off_is_possible_for_a_provider_that_may_not_be_on(admin: User) -> None:
    provider = factories.make_provider(token_endpoint="http://169.254.169.254/")
    assert not authoring.switch(admin, provider, is_on=False).enabled
    with pytest.raises(ValidationError):
        authoring.switch(admin, provider, is_on=True)
    provider.refresh_from_db()
    assert not provider.enabled


def test_switching_needs_the_right_to_change(alice: User) -> None:
    provider = factories.make_provider()
    with pytest.raises(rights.PermissionRefused):
        authoring.switch(alice, provider, is_on=False)
    assert OAuthProvider.objects.get().enabled


def test_the_link_to_connect_is_the_viewers_own(alice: User) -> None:
    provider = factories.make_provider()
    assert "/oauth/v1/authorize?provider_name=github" in registry.offer_url(alice, provider)
    disabled = factories.make_provider("gitlab", enabled=False)
    assert registry.offer_url(alice, disabled) == ""
