"""Whom the transports believe."""

from __future__ import annotations

import datetime
import inspect
import ssl

import pytest
import trustme

from outbound.addresses import Policy
from outbound.errors import TLSFailed
from outbound.http1.client import Client
from outbound.sync import guarded_session
from outbound.tls import ssl_context
from tests.outbound.conftest import running_server


def test_a_private_ca_is_believed_with_its_bundle(fetch, tls_server, ca_bundle):
    assert fetch(tls_server.url(), policy=Policy.parse(tls_server.open_for), ca_bundle=ca_bundle) == (200, b"hello")


def test_the_bundle_setting_is_used_when_none_is_given(tls_server, ca_bundle, settings):
    settings.AIGW_OUTBOUND_CA_BUNDLE = ca_bundle
    with guarded_session(policy=Policy.parse(tls_server.open_for)) as session:
        assert session.get(tls_server.url()).text == "hello"


@pytest.mark.threat("E07")
def test_a_private_ca_is_refused_without_its_bundle(fetch, tls_server, ca_bundle, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca_bundle)
    monkeypatch.setenv("CURL_CA_BUNDLE", ca_bundle)
    with pytest.raises(TLSFailed) as caught:
        fetch(tls_server.url(), policy=Policy.parse(tls_server.open_for))
    assert caught.value.code == "tls_failed"
    assert tls_server.requests == []


def test_a_private_ca_is_added_to_the_roots_of_the_system(ca_bundle):
    with_bundle, without = ssl_context(ca_bundle), ssl_context("")
    assert len(with_bundle.get_ca_certs()) == len(without.get_ca_certs()) + 1


@pytest.mark.threat("E07")
@pytest.mark.parametrize("fault", ["wrong host", "self-signed", "expired"])
def test_a_bad_certificate_is_refused(fetch, authority, ca_bundle, fault):
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    certificate = {
        "wrong host": lambda: authority.issue_cert("other.example"),
        "self-signed": lambda: trustme.CA().issue_cert("127.0.0.1"),
        "expired": lambda: authority.issue_cert("127.0.0.1", not_after=past),
    }[fault]()
    with running_server(certificate) as server, pytest.raises(TLSFailed, match="No secure connection to 127.0.0.1"):
        fetch(server.url(), policy=Policy.parse(server.open_for), ca_bundle=ca_bundle)
    assert server.requests == []


@pytest.mark.threat("E07", "E02")
@pytest.mark.parametrize(("host", "believed"), [("idp.example", True), ("other.example", False)])
def test_the_certificate_is_checked_against_the_name_not_the_address(fetch, tls_server, ca_bundle, host, believed):
    policy = Policy.parse([f"{host}:{tls_server.port}"], resolve=lambda host, port: ["127.0.0.1"])
    url = tls_server.url(host=host)
    if believed:
        assert fetch(url, policy=policy, ca_bundle=ca_bundle) == (200, b"hello")
    else:
        with pytest.raises(TLSFailed):
            fetch(url, policy=policy, ca_bundle=ca_bundle)


@pytest.mark.threat("E07")
def test_a_caller_cannot_switch_verification_off(tls_server):
    policy = Policy.parse(tls_server.open_for)
    with guarded_session(policy=policy, ca_bundle="") as session:
        session.verify = False
        with pytest.raises(TLSFailed):
            session.get(tls_server.url(), verify=False)
    context = ssl_context("")
    for name, value in (("check_hostname", False), ("verify_mode", ssl.CERT_NONE)):
        with pytest.raises(ValueError):
            setattr(context, name, value)
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert tls_server.requests == []


@pytest.mark.threat("E07")
async def test_the_data_plane_cannot_switch_verification_off(tls_server):
    client = Client(policy=Policy.parse(tls_server.open_for), ca_bundle="")
    with pytest.raises(TLSFailed):
        await client.send("GET", tls_server.url(), [])
    await client.close()
    assert tls_server.requests == []
    offered = {*inspect.signature(Client).parameters, *inspect.signature(Client.send).parameters}
    assert not {name for name in offered if "ssl" in name or "verify" in name or "context" in name}


def test_plain_text_on_a_tls_port_is_a_tls_failure(fetch, server):
    with pytest.raises(TLSFailed):
        fetch(server.url().replace("http:", "https:"), policy=Policy.parse(server.open_for))


def test_an_unreadable_bundle_is_an_error_not_a_shrug(tmp_path):
    with pytest.raises(OSError):
        ssl_context(str(tmp_path / "missing.pem"))
    (tmp_path / "empty.pem").write_text("not a certificate")
    with pytest.raises(ssl.SSLError):
        ssl_context(str(tmp_path / "empty.pem"))


def test_the_error_carries_nothing_of_the_library_that_knows_the_request(tls_server):
    session = guarded_session(policy=Policy.parse(tls_server.open_for), ca_bundle="")
    with session, pytest.raises(TLSFailed) as caught:
        session.get(tls_server.url("/ok?secret=1"))
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


@pytest.mark.threat("E07")
def test_the_roots_that_requests_brings_along_are_not_believed(tls_server, ca_bundle, monkeypatch):
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", ca_bundle)
    session = guarded_session(policy=Policy.parse(tls_server.open_for), ca_bundle="")
    with session, pytest.raises(TLSFailed):
        session.get(tls_server.url())
