"""Who we say we are, against a server that reads RFC 6749 §2.3.1 strictly."""

import dataclasses

import pytest

from providers import oauth2

ODD = [
    ("client", "secret"),
    ("cli:ent", "s:e:c"),
    ("100%", "50%2F"),
    ("my client", "my secret"),
    ("a+b", "c+d/="),
    ("klient-ü", "sécret-密"),
    ("~._-*", "!'()&=?#"),
]
CALLS = {
    "exchange": lambda client: oauth2.exchange_code(client, code="c", code_verifier="v"),
    "refresh": lambda client: oauth2.refresh(client, refresh_token="r"),
    "revoke": lambda client: oauth2.revoke(client, token="t", token_type_hint="refresh_token"),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@every_call
@pytest.mark.threat("B22")
@pytest.mark.spec("RFC 6749", "2.3.1")
@pytest.mark.parametrize(("client_id", "client_secret"), ODD)
@pytest.mark.parametrize("auth_method", ["client_secret_basic", "client_secret_post"])
def test_odd_characters_arrive_as_they_are(far_side, make_client, call, auth_method, client_id, client_secret):
    far_side.accept_only(client_id, client_secret)
    call(make_client(auth_method=auth_method, client_id=client_id, client_secret=client_secret))
    [request] = far_side.requests
    assert ("authorization" in request.headers) == (auth_method == "client_secret_basic")


@every_call
@pytest.mark.threat("B22", "B23")
@pytest.mark.spec("RFC 6749", "3.2.1")
@pytest.mark.parametrize(("client_id", "_"), ODD)
def test_a_public_client_sends_its_id_and_nothing_else(far_side, make_client, call, client_id, _):
    far_side.accept_only(client_id, None)
    call(make_client(auth_method="none", client_id=client_id, client_secret=""))
    [request] = far_side.requests
    assert "authorization" not in request.headers
    assert request.form["client_id"] == client_id
    assert "client_secret" not in request.form


@pytest.mark.threat("B23")
def test_a_public_client_does_not_send_a_secret_that_it_should_not_have(far_side, make_client):
    CALLS["refresh"](make_client(auth_method="none", client_secret="left-over"))
    assert b"left-over" not in far_side.requests[0].body


@pytest.mark.parametrize("auth_method", ["client_secret_basic", "client_secret_post", "none"])
def test_the_strict_server_refuses_someone_else(far_side, make_client, auth_method):
    far_side.accept_only("client", "secret")
    with pytest.raises(oauth2.ProviderRefused) as caught:
        CALLS["refresh"](make_client(auth_method=auth_method, client_secret="wrong"))
    assert caught.value.error == "invalid_client"
    assert not caught.value.is_terminal


def test_a_method_that_we_do_not_know_sends_nothing(far_side, make_client):
    with pytest.raises(ValueError, match="token_endpoint_auth_method"):
        CALLS["refresh"](make_client(auth_method="private_key_jwt"))
    assert far_side.requests == []


def test_a_netrc_file_or_a_proxy_variable_changes_nothing(far_side, client, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    public = dataclasses.replace(client, auth_method="none")
    CALLS["refresh"](public)
    assert "authorization" not in far_side.requests[0].headers
