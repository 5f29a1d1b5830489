from django.contrib.auth.models import User

from tests import factories
from vault.models import Secret
from vault.sealing import open_sealed


def test_a_provider_and_its_secret_round_trip(alice: User) -> None:
    provider = factories.make_provider()
    assert open_sealed(Secret.objects.get(name=provider.client_secret_ref), "value") == "s3cret-value"
