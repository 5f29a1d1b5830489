"""An issuer's own description: fetched from the issuer alone, and believed only if it is its own (A17, E04, E08)."""

import json

import pytest

from providers import metadata
from tests.fakes.token_endpoint import TokenEndpoint

OAUTH = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"


@pytest.fixture
def issuer(far_side):
    return far_side.url("")


def document(issuer, **fields):
    return {
        "issuer": issuer,
        "authorization_endpoint": "https://idp.example/authorize",
        "token_endpoint": "https://idp.example/token",
        **fields,
    }


def refusal(issuer):
    with pytest.raises(metadata.MetadataError) as caught:
        metadata.fetch(issuer)
    return str(caught.value)


# --- Refused ----------------------------------------------------------------------------------------


@pytest.mark.threat("A17")
@pytest.mark.spec("RFC 8414", "3.3")
@pytest.mark.parametrize("change", ["/", "x", None, ["a"]])
def test_metadata_of_another_issuer_is_refused_and_the_next_place_not_tried(far_side, issuer, change):
    said = issuer + change if isinstance(change, str) else change
    far_side.will(path=OAUTH, fields=document(said))
    assert "another issuer" in refusal(issuer)
    assert [request.path for request in far_side.requests] == [OAUTH]


@pytest.mark.threat("A12")
@pytest.mark.parametrize("field", metadata.ENDPOINTS)
@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "http://idp.example/", 7]
)
def test_metadata_with_an_address_that_is_none_is_not_used_at_all(far_side, issuer, field, url):
    far_side.will(path=OAUTH, fields=document(issuer, **{field: url}))
    found = refusal(issuer)
    assert field in found
    assert str(url) not in found


@pytest.mark.threat("E04")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(far_side, issuer, status):
    with TokenEndpoint() as elsewhere:
        for path in (OAUTH, OPENID):
            far_side.will(path=path, status=status, headers={"Location": elsewhere.url(OAUTH)})
        assert "no metadata" in refusal(issuer)
        assert elsewhere.requests == []


@pytest.mark.threat("E08")
def test_a_document_over_a_megabyte_is_cut_and_refused(far_side, issuer):
    far_side.will(path=OAUTH, body=b'{"a": "' + b"x" * 5_000_000)
    assert "larger than one megabyte" in refusal(issuer)


@pytest.mark.threat("E01")
@pytest.mark.parametrize(
    "odd", ["https://169.254.169.254", "https://10.0.0.1/x", "http://idp.example", "ftp://idp.example"]
)
def test_an_issuer_that_may_not_be_called_is_not(odd):
    assert "could not be fetched" in refusal(odd)


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"issuer":' + b"9" * 5000 + b"}"], ids=range(6)
)
def test_what_is_no_json_object_is_no_metadata(far_side, issuer, body):
    for path in (OAUTH, OPENID):
        far_side.will(path=path, body=body, headers={"Content-Type": "application/json"})
    assert "no metadata" in refusal(issuer)


def test_an_issuer_that_hangs_up_or_is_slow_is_given_up(far_side, issuer):
    far_side.will(path=OAUTH, hang_up=True)
    assert "could not be fetched" in refusal(issuer)
    far_side.will(path=OAUTH, after_seconds=5)
    with pytest.raises(metadata.MetadataError, match="in time"):
        metadata.fetch(issuer, timeout_seconds=0.2)


# --- Found ------------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 8414", "3.1")
@pytest.mark.parametrize(
    ("issuer", "oauth", "openid"),
    [
        ("https://a.example", "https://a.example" + OAUTH, "https://a.example" + OPENID),
        ("https://a.example/", "https://a.example" + OAUTH, "https://a.example" + OPENID),
        ("https://a.example/t/v2", f"https://a.example{OAUTH}/t/v2", f"https://a.example/t/v2{OPENID}"),
        ("https://a.example/t/", f"https://a.example{OAUTH}/t", f"https://a.example/t{OPENID}"),
    ],
)
def test_the_path_of_the_issuer_stands_where_each_specification_puts_it(issuer, oauth, openid):
    assert metadata.well_known_urls(issuer) == [oauth, openid]


@pytest.mark.spec("RFC 8414", "2")
def test_metadata_is_read(far_side, issuer):
    fields = document(
        issuer,
        revocation_endpoint="https://idp.example/revoke",
        scopes_supported=["read", 7, "x" * 600, "write"],
        token_endpoint_auth_methods_supported="client_secret_basic",
        code_challenge_methods_supported=["S256"],
        authorization_response_iss_parameter_supported=True,
    )
    far_side.will(path=OAUTH, fields=fields)
    said = metadata.fetch(issuer)
    assert (said.issuer, said.token_endpoint) == (issuer, "https://idp.example/token")
    assert (said.revocation_endpoint, said.userinfo_endpoint) == ("https://idp.example/revoke", "")
    assert said.scopes_supported == ("read", "write")
    assert said.token_endpoint_auth_methods_supported is None
    assert said.code_challenge_methods_supported == ("S256",)
    assert said.authorization_response_iss_parameter_supported
    assert far_side.requests[0].headers["accept"] == "application/json"


@pytest.mark.parametrize("status", [404, 401, 500])
def test_openid_connect_discovery_is_tried_second(far_side, issuer, status):
    far_side.will(path=OAUTH, status=status, fields={"error": "not_found"})
    far_side.will(path=OPENID, body=json.dumps(document(issuer)).encode())
    assert metadata.fetch(issuer).token_endpoint == "https://idp.example/token"


@pytest.mark.parametrize("said", ["true", 1, None, False])
def test_iss_is_promised_by_true_alone(far_side, issuer, said):
    far_side.will(path=OAUTH, fields=document(issuer, authorization_response_iss_parameter_supported=said))
    assert not metadata.fetch(issuer).authorization_response_iss_parameter_supported
