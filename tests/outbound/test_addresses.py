"""The policy and the check at save time."""

from __future__ import annotations

import time

import pytest

from outbound.addresses import Policy, check_url, current_policy
from outbound.errors import AddressNotAllowed, HTTPSRequired, InvalidURL

PUBLIC = "93.184.216.34"


def resolving(*addresses: str):
    return lambda host, port: list(addresses)


def unresolvable(host, port):
    raise OSError("no such name")


NOTHING_ALLOWED = Policy(resolve=unresolvable)

DENIED = [
    "0.0.0.0",  # noqa: S104 (an address to refuse)
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "100.100.100.200",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:0:4136:e378::1",
    "2001:2::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fdff::1",
    "fe80::1",
    "fe80::1%2",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]

PERMITTED = [
    "8.8.8.8",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "192.167.255.255",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450:4001::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]

ODD_LOOPBACK = ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "0x7f000001", "017700000001", "127.0.0.1.", "[::1]"]


@pytest.mark.threat("E01")
@pytest.mark.parametrize("address", DENIED)
def test_a_reserved_address_is_denied(address):
    assert not Policy().permits(address, 443)


@pytest.mark.parametrize("address", PERMITTED)
def test_a_public_address_is_permitted(address):
    assert Policy().permits(address, 443)


@pytest.mark.threat("E01")
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("address", DENIED)
def test_a_url_with_a_reserved_address_is_refused_at_save(scheme, address):
    host = f"[{address}]" if ":" in address else address
    with pytest.raises((AddressNotAllowed, InvalidURL) if "%" in host else AddressNotAllowed):
        check_url(f"{scheme}://{host}/mcp", policy=NOTHING_ALLOWED)


@pytest.mark.threat("E01")
@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "idp.localhost", "localhost:9000"])
def test_localhost_is_refused_at_save_even_when_it_does_not_resolve(host):
    with pytest.raises(AddressNotAllowed):
        check_url(f"https://{host}/", policy=NOTHING_ALLOWED)


@pytest.mark.threat("E03")
@pytest.mark.parametrize("host", ODD_LOOPBACK)
def test_an_odd_spelling_of_loopback_is_judged_as_loopback(host):
    with pytest.raises(AddressNotAllowed):
        check_url(f"https://{host}/", policy=NOTHING_ALLOWED)
    check_url(f"http://{host}:9000/", policy=Policy.parse(["127.0.0.1:9000", "[::1]:9000"]))


@pytest.mark.threat("E03")
@pytest.mark.parametrize(
    "url",
    [
        "https://good.example@evil.example/",
        "https://user:pass@evil.example/",
        "https://１２７.０.０.１/",
        "https://127。0。0。1/",
        "https://ⓛocalhost/",
        "https://bücher.example/",
        "https://1.2.3.4.5/",
        "https://256.256.256.256/",
        "https://0xzz/",
        "https://[127.0.0.1]/",
        "https://[::1%25lo]/",
        "https://[fe80::1%eth0]/",
        "https://[::1/",
        "https://a..example/",
        "https://-a.example/",
        "https://a%2eexample/",
    ],
)
def test_an_odd_host_is_refused(url):
    with pytest.raises(InvalidURL):
        check_url(url, policy=NOTHING_ALLOWED)


@pytest.mark.threat("A12")
@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "javascript:alert(1)",
        "JavaScript://example.com/%0aalert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "ftp://example.com/",
        "https:evil",
        "https:///path",
        "https://",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com:port/",
        "https://example.com/#fragment",
        "https://example.com/a b",
        "https://example.com\\@evil.example/",
        "https://example.com/\r\nX: y",
        "https://example.com/\t",
        "https://example.com/\x00",
        " https://example.com/",
    ],
)
def test_what_is_not_a_plain_web_address_is_invalid(url):
    with pytest.raises(InvalidURL) as caught:
        check_url(url, policy=NOTHING_ALLOWED)
    assert caught.value.code == "invalid"


@pytest.mark.threat("A12")
def test_plain_http_needs_an_allowed_loopback_address():
    allowed = Policy.parse(["127.0.0.1:9000", "localhost:9000", "10.0.0.5"], resolve=resolving("127.0.0.1"))
    check_url("http://127.0.0.1:9000/token", policy=allowed)
    check_url("http://localhost:9000/token", policy=allowed)
    for url in ("http://127.0.0.1:9001/", "http://localhost:9001/", "http://169.254.169.254/"):
        with pytest.raises((AddressNotAllowed, HTTPSRequired)):
            check_url(url, policy=allowed)
    for url in ("http://idp.example/token", "http://10.0.0.5/token", f"http://{PUBLIC}/"):
        with pytest.raises(HTTPSRequired, match="HTTPS required") as caught:
            check_url(url, policy=allowed)
        assert caught.value.code == "https_required"


@pytest.mark.threat("E02")
@pytest.mark.parametrize("answer", [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["2606:4700::1111", "::1"]])
def test_a_name_with_any_denied_address_is_refused_at_save(answer):
    with pytest.raises(AddressNotAllowed) as caught:
        check_url("https://idp.example/", policy=Policy(resolve=resolving(*answer)))
    assert caught.value.code == "address_not_allowed"


def test_a_name_that_resolves_to_public_addresses_is_accepted():
    check_url("https://idp.example:8443/token?x=1", policy=Policy(resolve=resolving(PUBLIC, "2606:4700::1111")))


def test_a_name_that_does_not_resolve_now_is_accepted():
    check_url("https://idp.example/", policy=NOTHING_ALLOWED)


def test_a_name_server_that_hangs_does_not_hold_up_saving():
    def slow(host, port):
        time.sleep(2)
        return [PUBLIC]

    started = time.monotonic()
    with pytest.raises(Exception, match="in time"):
        Policy(resolve=slow).addresses("idp.example", 443, timeout_seconds=0.05)
    assert time.monotonic() - started < 1


def test_the_purpose_opens_the_message():
    with pytest.raises(AddressNotAllowed, match="^token_endpoint: 10.0.0.1 is not an allowed address"):
        check_url("https://10.0.0.1/", policy=NOTHING_ALLOWED, purpose="token_endpoint")


@pytest.mark.threat("E01")
@pytest.mark.parametrize(
    ("entry", "address", "port", "host", "permitted"),
    [
        ("10.0.0.0/8", "10.1.2.3", 80, "", True),
        ("10.0.0.0/8", "::ffff:10.1.2.3", 80, "", True),
        ("10.0.0.0/8", "11.0.0.1", 443, "", True),
        ("10.0.0.0/8", "192.168.0.1", 443, "", False),
        ("10.0.0.0/8:9000", "10.1.2.3", 9000, "", True),
        ("10.0.0.0/8:9000", "10.1.2.3", 9001, "", False),
        ("127.0.0.1", "127.0.0.1", 1, "", True),
        ("127.0.0.1", "127.0.0.2", 1, "", False),
        ("[::1]:9000", "::1", 9000, "", True),
        ("[::1]:9000", "::1", 9001, "", False),
        ("[fd00::/8]:443", "fd12::1", 443, "", True),
        ("[fd00::]/8:443", "fd12::1", 443, "", True),
        ("[fd00::]/8", "fc12::1", 443, "", False),
        ("mcp.internal:8443", "10.0.0.9", 8443, "mcp.internal", True),
        ("mcp.internal:8443", "10.0.0.9", 8443, "MCP.internal.", True),
        ("mcp.internal:8443", "10.0.0.9", 8444, "mcp.internal", False),
        ("mcp.internal:8443", "10.0.0.9", 8443, "evil.example", False),
        ("mcp.internal:8443", "10.0.0.9", 8443, "", False),
        ("mcp.internal", "10.0.0.9", 1234, "mcp.internal", True),
        ("mcp.internal", "0.0.0.1", 80, "mcp.internal", False),
        ("mcp.internal", "169.254.169.254", 80, "mcp.internal", False),
        ("mcp.internal", "fe80::1", 80, "mcp.internal", False),
        ("mcp.internal", "fd00:ec2::254", 80, "mcp.internal", False),
        ("mcp.internal", "100.100.100.200", 80, "mcp.internal", False),
        ("0.0.0.0/0", "169.254.169.254", 80, "", False),
        ("0.0.0.0/0", "::ffff:169.254.169.254", 80, "", False),
        ("[::/0]", "fe80::1", 80, "", False),
        ("100.64.0.0/10", "100.100.100.200", 80, "", False),
        ("169.254.169.254/32", "169.254.169.254", 80, "", True),
        ("169.254.169.254/32:80", "169.254.169.254", 81, "", False),
        ("169.254.0.0/16", "169.254.169.254", 80, "", True),
    ],
)
def test_an_allow_entry_permits_what_it_names_and_nothing_else(entry, address, port, host, permitted):
    assert Policy.parse([entry]).permits(address, port, host) is permitted


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "https://mcp.internal",
        "mcp.internal/path",
        "mcp.internal:0",
        "mcp.internal:65536",
        "mcp.internal:http",
        "*.internal",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "127.1",
        "2130706433",
        "::1",
        "fd00::/8",
        "[::1",
        "[mcp.internal]",
        "169.254.169.254",
        "169.254.169.254:80",
        "[fe80::1]",
        "a b",
        "user@host",
    ],
)
def test_a_bad_allow_entry_is_named(entry):
    with pytest.raises(ValueError) as caught:
        Policy.parse(["10.0.0.0/8", entry])
    assert repr(entry) in str(caught.value)


def test_the_current_policy_follows_the_setting(settings):
    settings.AIGW_OUTBOUND_ALLOW = []
    assert not current_policy().permits("127.0.0.1", 9000)
    settings.AIGW_OUTBOUND_ALLOW = ["127.0.0.1:9000"]
    assert current_policy().permits("127.0.0.1", 9000)
    check_url("http://127.0.0.1:9000/")
