"""`keep_idle_connections`: off unless an admin says otherwise, by the API or the form."""

import pytest
from django.contrib.auth.models import User

from providers.models import OAuthProvider
from tests import factories
from tests.admin_pages import page, signed_in
from tests.api import PROVIDERS, provider_body, send


@pytest.mark.django_db
def test_a_provider_lets_unused_connections_lapse_unless_the_api_says_otherwise(superuser: User) -> None:
    made = send(superuser, "post", PROVIDERS, provider_body())
    assert made.json()["keep_idle_connections"] is False
    changed = send(superuser, "patch", f"{PROVIDERS}github/", {"keep_idle_connections": True})
    assert changed.json()["keep_idle_connections"] is True
    assert OAuthProvider.objects.get().keep_idle_connections


@pytest.mark.django_db
def test_the_form_offers_it(superuser: User) -> None:
    provider = factories.make_provider(keep_idle_connections=True)
    form = signed_in(superuser).get(page(provider, "change")).context["form"]
    assert form["keep_idle_connections"].value() is True
