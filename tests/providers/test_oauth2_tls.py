"""A provider is believed by its certificate alone: nothing is sent to one that cannot show whose it is (E07)."""

import datetime

import pytest
import trustme

from providers import check, metadata, oauth2
from providers.models import OAuthProvider
from tests.fakes.token_endpoint import TokenEndpoint

AUTHORITY = trustme.CA()


@pytest.fixture
def private_ca(settings, tmp_path):
    """The operator's own authority, added to the system's."""
    path = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(path))
    settings.AIGW_OUTBOUND_CA_BUNDLE = str(path)


def certificate(fault):
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    makers = {
        "wrong host": lambda: AUTHORITY.issue_cert("other.example"),
        "self-signed": lambda: trustme.CA().issue_cert("127.0.0.1"),
        "expired": lambda: AUTHORITY.issue_cert("127.0.0.1", not_after=past),
        "none": lambda: AUTHORITY.issue_cert("127.0.0.1"),
    }
    return makers[fault]()


@pytest.mark.threat("E07")
@pytest.mark.parametrize("fault", ["wrong host", "self-signed", "expired"])
def test_a_bad_certificate_gets_no_code_token_or_secret(private_ca, make_client, fault):
    with TokenEndpoint(certificate(fault)) as idp:
        client = make_client(**idp.endpoints, device_authorization_endpoint=idp.url("/device"))
        calls = [
            lambda: oauth2.exchange_code(client, code="c", code_verifier="v"),
            lambda: oauth2.refresh(client, refresh_token="r"),
            lambda: oauth2.revoke(client, token="t", token_type_hint="access_token"),
            lambda: oauth2.start_device(client, scopes=["read"]),
            lambda: oauth2.poll_device(client, device_code="d"),
        ]
        for call in calls:
            with pytest.raises(oauth2.ProviderUnavailable) as caught:
                call()
            assert caught.value.why == "tls_failed"
        assert oauth2.userinfo_account(client, "t") is None
        with pytest.raises(metadata.MetadataError, match="No secure connection"):
            metadata.fetch(idp.url(""))
        assert idp.requests == []


@pytest.mark.threat("E07")
def test_the_check_says_that_it_is_the_certificate(private_ca, db):
    with TokenEndpoint(certificate("self-signed")) as idp:
        provider = OAuthProvider(name="idp", client_id="id", **idp.endpoints)
        [finding] = check.check(provider, client_secret="typed")
    assert (finding.level, finding.field) == ("error", "token_endpoint")
    assert "certificate that is not accepted" in finding.sentence


def test_a_private_authority_of_the_operator_is_believed(private_ca, make_client):
    with TokenEndpoint(certificate("none")) as idp:
        client = make_client(**idp.endpoints)
        assert oauth2.exchange_code(client, code="c", code_verifier="v").access_token == "access-1"
