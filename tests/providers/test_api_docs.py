"""The schema shows by example what one sends and gets, and the examples are right."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from providers import presets
from providers.api import examples
from tests import factories
from tests.api import PROVIDERS, send

PRESETS = "/api/v1/oauth-provider-presets/"
pytestmark = pytest.mark.django_db


@pytest.fixture
def paths(admin: User) -> dict[str, Any]:
    answer: dict[str, Any] = send(admin, "get", "/api/v1/schema/?format=json").json()["paths"]
    return answer


def shown(content: dict[str, Any]) -> bool:
    return all("examples" in one for one in content.values())


def test_every_verb_of_providers_and_presets_has_examples(paths: dict[str, Any]) -> None:
    verbs = [
        (f"{method} {path}", operation)
        for path, operations in paths.items()
        if path.startswith((PROVIDERS, PRESETS))
        for method, operation in operations.items()
    ]
    assert len(verbs) > 10
    for name, operation in verbs:
        assert shown(operation.get("requestBody", {}).get("content", {})) or "check" in name, name
        answers = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
        assert all(shown(answer.get("content", {})) for answer in answers), name


@pytest.mark.parametrize("body", [examples.FROM_PRESET, examples.CUSTOM], ids=["preset", "custom"])
def test_what_the_examples_send_is_accepted(admin: User, body: dict[str, Any]) -> None:
    factories.make_secret(body["client_secret_ref"])
    assert send(admin, "post", PROVIDERS, body).status_code == 201
    changed = send(admin, "patch", f"{PROVIDERS}{body['name']}/", examples.CHANGE[0].value)
    assert changed.status_code == 200


def test_the_example_of_an_answer_has_the_fields_of_an_answer(admin: User) -> None:
    factories.make_secret("ACME_CLIENT_SECRET")
    made = send(admin, "post", PROVIDERS, examples.CUSTOM).json()
    said = examples.PROVIDER[-1].value
    assert set(said) == set(made)
    same = set(made) - {"uid", "callback_url", "created_at", "updated_at"}
    assert {name: said[name] for name in same} == {name: made[name] for name in same}


def test_the_example_of_a_preset_is_in_the_catalog(admin: User) -> None:
    said = examples.PRESET[0].value
    is_so = send(admin, "get", f"{PRESETS}okta/").json()
    assert {**said, "notes": []} == {**{name: is_so[name] for name in said}, "notes": []}
    assert presets.get("okta") is not None


def test_disconnecting_is_documented_as_it_answers(paths: dict[str, Any]) -> None:
    assert "200" in paths["/api/v1/connections/{provider}/"]["delete"]["responses"]
