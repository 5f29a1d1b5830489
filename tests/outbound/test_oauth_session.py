"""The guard under requests-oauthlib, which by itself re-sends a secret on a 307."""

from __future__ import annotations

import pytest
from requests_oauthlib import OAuth2Session

from outbound.addresses import Policy
from outbound.errors import AddressNotAllowed, InvalidURL, RedirectRefused, TimedOut
from outbound.sync import Limits, guard, guarded_session
from tests.outbound.conftest import running_server

SECRET = "s3cret-canary"


def fetch_token(url, policy, ca_bundle, **limits):
    session = guard(OAuth2Session("client"), limits=Limits(**limits), policy=policy, ca_bundle=ca_bundle)
    with session:
        return session.fetch_token(url, code="code", client_secret=SECRET)


@pytest.mark.threat("B10")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_token_request_is_never_sent_on(authority, ca_bundle, second_server, status):
    with running_server(authority.issue_cert("127.0.0.1"), redirect_to=second_server.url()) as first:
        policy = Policy.parse(first.open_for + second_server.open_for)
        with pytest.raises(RedirectRefused) as caught:
            fetch_token(first.url(f"/redirect/{status}"), policy, ca_bundle)
    assert SECRET not in str(caught.value)
    assert len(first.requests) == 1
    assert second_server.connections == 0


@pytest.mark.threat("B09")
def test_a_token_endpoint_that_drips_is_given_up(tls_server, ca_bundle):
    with pytest.raises(TimedOut):
        fetch_token(
            tls_server.url("/drip_body"), Policy.parse(tls_server.open_for), ca_bundle, total_timeout_seconds=0.4
        )


@pytest.mark.threat("E01")
def test_a_denied_token_endpoint_gets_no_secret(tls_server, ca_bundle):
    with pytest.raises(AddressNotAllowed):
        fetch_token(tls_server.url(), Policy(), ca_bundle)
    assert tls_server.connections == 0


def test_a_url_that_requests_would_quote_is_refused_without_quoting(server):
    with guarded_session(policy=Policy.parse(server.open_for)) as session:
        for url in (f"https:///{SECRET}", f"https://１２７.０.０.１/{SECRET}", f"ftp://127.0.0.1/{SECRET}"):
            with pytest.raises(InvalidURL) as caught:
                session.get(url)
            assert SECRET not in str(caught.value)


def test_a_session_keeps_no_cookies(server):
    with guarded_session(policy=Policy.parse(server.open_for)) as session:
        session.get(server.url("/cookie"))
        session.get(server.url())
    assert "Cookie" not in server.requests[1][2]


def test_every_request_has_a_connection_of_its_own(server):
    with guarded_session(policy=Policy.parse(server.open_for)) as session:
        session.get(server.url())
        session.get(server.url())
    assert server.connections == 2
