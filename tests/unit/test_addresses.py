"""From where somebody may come, and who that is behind proxies, as tables."""

from __future__ import annotations

import itertools

import pytest

from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import IpRules
from holdfast.policy.addresses import (
    admits,
    check_rules,
    client_of,
    forwarded,
    is_public,
    parse_address,
    parse_network,
    within,
)

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("allow", "deny", "address", "admitted"),
    [
        ((), (), "198.51.100.7", True),
        ((), (), "no address", True),  # without rules nothing is asked
        (("10.0.0.0/8",), (), "10.1.2.3", True),
        (("10.0.0.0/8",), (), "11.1.2.3", False),
        (("10.0.0.0/8",), (), "::ffff:10.1.2.3", True),  # IPv4 inside IPv6
        (("10.0.0.0/8",), (), "::ffff:0a01:0203", True),
        (("10.0.0.0/8",), (), "::10.1.2.3", False),  # another thing
        (("::ffff:10.0.0.0/104",), (), "10.1.2.3", True),
        (("fe80::/10",), (), "fe80::1%eth0", True),
        (("fe80::/10",), (), "fe80::1", True),
        (("2001:db8::/32",), (), "2001:db8:1::1", True),
        (("2001:db8::/32",), (), "2001:DB8:0001::1", True),
        (("2001:db8::/32",), (), "10.0.0.1", False),
        (("0.0.0.0/0",), (), "2001:db8::1", False),
        (("0.0.0.0/0", "::/0"), (), "2001:db8::1", True),
        (("192.0.2.7",), (), "192.0.2.7", True),
        (("192.0.2.7",), (), "192.0.2.8", False),
        ((), ("10.0.0.0/8",), "10.1.2.3", False),
        ((), ("10.0.0.0/8",), "::ffff:10.1.2.3", False),
        ((), ("10.0.0.0/8",), "11.1.2.3", True),
        (("10.0.0.0/8",), ("10.9.0.0/16",), "10.9.1.1", False),
        (("10.0.0.0/8",), ("10.9.0.0/16",), "10.8.1.1", True),
        ((), ("10.0.0.0/8",), "", False),
        ((), ("10.0.0.0/8",), "unknown", False),
        (("10.0.0.0/8",), (), "10.1", False),
        (("10.0.0.0/8",), (), "10.01.2.3", False),  # some read this as octal
        (("10.0.0.0/8",), (), "167838211", False),
        (("10.0.0.0/8",), (), "0xa.1.2.3", False),
        (("10.0.0.0/8",), (), " 10.1.2.3", False),
    ],
)
def test_rules_admit_or_refuse(
    allow: tuple[str, ...], deny: tuple[str, ...], address: str, admitted: bool
) -> None:
    assert admits(IpRules(allow, deny), address) is admitted


@pytest.mark.parametrize(
    "text", ["", "10.0.0.0/33", "10.0.0.1/8", "10.0.0/8", "all", "::/129", "10.0.0.0/8/8", "host.example"]
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        check_rules(IpRules(allow=(text,)))
    with pytest.raises(InvalidRequestError):
        check_rules(IpRules(deny=(text,)))


def test_rules_are_kept_in_their_usual_form_and_bounded() -> None:
    assert check_rules(IpRules(("10.1.2.3", "2001:DB8::/32"), ("::ffff:10.0.0.0/104",))) == IpRules(
        ("10.1.2.3/32", "2001:db8::/32"), ("10.0.0.0/8",)
    )
    with pytest.raises(InvalidRequestError):
        check_rules(IpRules(tuple(f"10.0.{number % 256}.{number // 256}" for number in range(257))))


@pytest.mark.parametrize(
    ("asked", "own", "inside"),
    [
        (IpRules(), IpRules(), True),
        (IpRules(("10.0.0.0/8",)), IpRules(), True),
        (IpRules(), IpRules(("10.0.0.0/8",)), False),
        (IpRules(("10.1.0.0/16",)), IpRules(("10.0.0.0/8",)), True),
        (IpRules(("10.1.0.0/16", "11.0.0.0/8")), IpRules(("10.0.0.0/8",)), False),
        (IpRules(("::/0",)), IpRules(("10.0.0.0/8",)), False),
        (IpRules(("11.0.0.0/8",)), IpRules(deny=("10.0.0.0/8",)), True),
        (IpRules(("0.0.0.0/0",)), IpRules(deny=("10.0.0.0/8",)), False),
        (IpRules(("0.0.0.0/0",), ("10.0.0.0/8",)), IpRules(deny=("10.0.0.0/8",)), True),
        (IpRules(deny=("10.0.0.0/8",)), IpRules(deny=("10.1.0.0/16",)), True),
        (IpRules(deny=("10.1.0.0/16",)), IpRules(deny=("10.0.0.0/8",)), False),
    ],
)
def test_rules_lie_inside_others(asked: IpRules, own: IpRules, inside: bool) -> None:
    assert within(asked, own) is inside
    if inside:
        for first, second in itertools.product(range(8, 13), (0, 1, 9)):
            address = f"{first}.{second}.3.4"
            assert not admits(asked, address) or admits(own, address)


TRUSTED = tuple(map(parse_network, ("10.0.0.0/8", "2001:db8:a::/48", "127.0.0.1")))


@pytest.mark.parametrize(
    ("peer", "hops", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["1.1.1.1"], "203.0.113.9"),  # not a proxy of ours: whatever it says
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1"], "198.51.100.1"),  # the client wrote the first itself
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["127.0.0.1", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3", "10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1", "rubbish"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1", "rubbish", "10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["_hidden"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [" 198.51.100.1 "], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8:b::1]:4711"], "2001:db8:b::1"),
        ("10.0.0.1", ['"[2001:db8:b::1]"'], "2001:db8:b::1"),
        ("10.0.0.1", ["2001:db8:b::1"], "2001:db8:b::1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("2001:db8:a::1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.2", ["198.51.100.1"], "127.0.0.2"),
        ("::ffff:203.0.113.9", [], "203.0.113.9"),
        ("unknown", ["198.51.100.1"], "unknown"),
        ("10.0.0.1", ["198.51.100.1, 9.9.9.9"], "10.0.0.1"),  # a hop is one address
    ],
)
def test_the_client_is_the_last_hop_that_is_no_proxy(peer: str, hops: list[str], client: str) -> None:
    assert client_of(peer, hops, TRUSTED) == client


def test_without_proxies_nobody_is_believed() -> None:
    assert client_of("10.0.0.1", ["198.51.100.1"], ()) == "10.0.0.1"


@pytest.mark.parametrize(
    ("header", "hops"),
    [
        ("for=192.0.2.1", [("192.0.2.1", "")]),
        ("For=192.0.2.1;Proto=HTTPS;by=10.0.0.1", [("192.0.2.1", "https")]),
        (
            'for="[2001:db8::1]:80", for=10.0.0.2; proto=http',
            [("[2001:db8::1]:80", ""), ("10.0.0.2", "http")],
        ),
        ("rubbish", [("", "")]),
        ("proto=https", [("", "https")]),
    ],
)
def test_a_forwarded_header_is_read(header: str, hops: list[tuple[str, str]]) -> None:
    assert forwarded(header) == hops


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.127.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "192.88.99.1",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001::1",
        "2001:0:7f00:1::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::1",
        "::127.0.0.1",
        "2130706433",
        "127.1",
        "localhost",
        "0x7f.1",
        "①②⑦.0.0.1",
    ],
)
def test_addresses_inside_are_not_of_the_open_internet(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "172.32.0.1", "100.63.255.255"]
)
def test_other_addresses_are(address: str) -> None:
    assert is_public(address)


def test_an_address_is_read_in_one_way_only() -> None:
    assert str(parse_address("::FFFF:192.0.2.1")) == "192.0.2.1"
    assert str(parse_address("2001:DB8:0:0::1%3")) == "2001:db8::1"
    assert parse_address("192.0.2.1/32") is None
