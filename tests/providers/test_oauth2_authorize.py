"""The link to a provider's consent page, and the issuer of its answer."""

import base64
import hashlib
import re
from urllib.parse import parse_qsl, urlsplit

import pytest

from providers import oauth2

SCOPES = ["read", "write"]


def query_of(url: str) -> dict[str, str]:
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs), "a parameter is there twice"
    return dict(pairs)


def link(client, **overrides):
    arguments = {"state": "st", "scopes": SCOPES, "code_verifier": "v" * 43}
    return oauth2.authorize_url(client, **{**arguments, **overrides})


@pytest.mark.spec("RFC 6749", "4.1.1")
def test_the_link_names_client_redirect_scopes_and_state(client):
    query = query_of(link(client))
    assert query["response_type"] == "code"
    assert query["client_id"] == "gateway-client"
    assert query["redirect_uri"] == client.redirect_uri
    assert query["scope"] == "read write"
    assert query["state"] == "st"


@pytest.mark.threat("A09")
@pytest.mark.spec("RFC 7636", "4.2")
def test_the_challenge_is_s256_of_the_verifier(client):
    verifier = oauth2.new_code_verifier()
    query = query_of(link(client, code_verifier=verifier))
    digest = hashlib.sha256(verifier.encode()).digest()
    assert query["code_challenge"] == base64.urlsafe_b64encode(digest).decode().rstrip("=")
    assert query["code_challenge_method"] == "S256"
    assert verifier not in link(client, code_verifier=verifier)


def test_without_a_verifier_there_is_no_challenge(client):
    assert not [name for name in query_of(link(client, code_verifier=None)) if name.startswith("code_")]


@pytest.mark.threat("A09")
@pytest.mark.spec("RFC 7636", "4.1")
def test_every_verifier_is_fresh_and_of_the_right_shape():
    verifiers = {oauth2.new_code_verifier() for _ in range(50)}
    assert len(verifiers) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier) for verifier in verifiers)


@pytest.mark.spec("RFC 6749", "3.1")
def test_the_query_of_the_endpoint_is_kept(make_client):
    client = make_client(authorization_endpoint="https://idp.example/authorize?tenant=a%20b&empty=")
    query = query_of(link(client))
    assert query["tenant"] == "a b"
    assert query["empty"] == ""
    assert query["client_id"] == "gateway-client"


@pytest.mark.parametrize("name", ["client_id", "redirect_uri", "state", "scope", "response_type", "code_challenge"])
def test_nothing_typed_can_override_the_protocol(make_client, name):
    client = make_client(
        authorization_endpoint=f"https://idp.example/authorize?{name}=evil",
        authorize_params={name: "evil", "prompt": "consent"},
    )
    url = link(client)
    assert "evil" not in url
    assert query_of(url)["prompt"] == "consent"


@pytest.mark.parametrize(
    "name", ["code_challenge", "code_challenge_method", "resource", "request_uri", "client_secret"]
)
def test_a_parameter_of_the_protocol_that_we_do_not_send_cannot_be_slipped_in(make_client, name):
    client = make_client(authorize_params={name: "evil"})
    assert "evil" not in link(client, code_verifier=None)


@pytest.mark.threat("A21")
@pytest.mark.spec("RFC 8707", "2.1")
def test_the_resource_is_asked_for(make_client):
    client = make_client(resource="https://mcp.example/mcp")
    assert query_of(link(client))["resource"] == "https://mcp.example/mcp"


def test_scopes_are_joined_as_the_provider_wants_them_and_left_out_when_there_are_none(make_client):
    assert query_of(link(make_client(scope_delimiter=",")))["scope"] == "read,write"
    assert "scope" not in query_of(link(make_client(), scopes=[]))


@pytest.mark.threat("A12")
@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "http://idp.example/a"]
)
def test_a_browser_is_never_sent_to_an_odd_address(make_client, url):
    with pytest.raises(oauth2.ProviderUnavailable) as caught:
        link(make_client(authorization_endpoint=url))
    assert url not in str(caught.value)


@pytest.mark.threat("A06")
@pytest.mark.spec("RFC 9207", "2.4")
@pytest.mark.parametrize("iss", ["https://idp.example/", "https://IDP.example", "https://evil.example", ""])
def test_an_issuer_that_is_not_the_recorded_one_letter_for_letter_is_refused(make_client, iss):
    with pytest.raises(oauth2.BadAnswer) as caught:
        oauth2.check_issuer(make_client(issuer="https://idp.example"), iss)
    assert caught.value.why == "issuer"
    assert "evil" not in str(caught.value)


@pytest.mark.parametrize(
    ("recorded", "iss"), [("https://idp.example", "https://idp.example"), ("https://idp.example", None), ("", "x")]
)
def test_the_recorded_issuer_passes_and_so_does_what_cannot_be_compared(make_client, recorded, iss):
    oauth2.check_issuer(make_client(issuer=recorded), iss)
