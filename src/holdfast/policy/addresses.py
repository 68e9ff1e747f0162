"""From where somebody may come: allow and deny lists of networks, and the client behind trusted proxies."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import IpRules

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MOST: Final = 256  #: networks of one list
NO_RULES: Final = IpRules()
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_PORT: Final = re.compile(r"\[(?P<six>[^\]]+)\](?::\d{1,5})?|(?P<four>\d+\.\d+\.\d+\.\d+):\d{1,5}")


@lru_cache(16384)
def parse_address(text: str) -> Address | None:
    """Return the address, IPv4 taken out of IPv6 and without its zone; None when it is none."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def parse_network(text: str) -> Network:
    """Return the network in CIDR form, or a single address as one.

    Raises:
        InvalidRequestError: it is none, or has bits beyond its mask.
    """
    try:
        network = ipaddress.ip_network(text.strip(), strict=True)
    except ValueError as error:
        raise InvalidRequestError(
            f"{text[:60]!r} is no network such as 10.0.0.0/8 or 2001:db8::/32: {error}"
        ) from None
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        four = int(network.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((four, network.prefixlen - 96))
    return network


def check_rules(rules: IpRules) -> IpRules:
    """Return `rules` with each network in its usual form; `InvalidRequestError` when one is none."""
    for side in (rules.allow, rules.deny):
        if len(side) > MOST:
            raise InvalidRequestError(f"a list of networks has at most {MOST}")
    return IpRules(
        tuple(str(parse_network(text)) for text in rules.allow),
        tuple(str(parse_network(text)) for text in rules.deny),
    )


def admits(rules: IpRules, address: str) -> bool:
    """Return whether somebody at `address` may come in; an address that is none is refused by any rule."""
    if not rules.allow and not rules.deny:
        return True
    return _admits(rules, address)


@lru_cache(16384)
def _admits(rules: IpRules, address: str) -> bool:
    at = parse_address(address)
    if at is None:
        return False
    allow, deny = _compiled(rules)
    if any(at in network for network in deny):
        return False
    return not allow or any(at in network for network in allow)


@lru_cache(2048)
def _compiled(rules: IpRules) -> tuple[tuple[Network, ...], tuple[Network, ...]]:
    return tuple(map(parse_network, rules.allow)), tuple(map(parse_network, rules.deny))


def within(asked: IpRules, own: IpRules) -> bool:
    """Return whether `asked` admits nobody whom `own` refuses."""
    allow, deny = _compiled(asked)
    own_allow, own_deny = _compiled(own)
    if own_allow and not (allow and all(any(_inside(one, wide) for wide in own_allow) for one in allow)):
        return False
    return all(
        any(_inside(one, wide) for wide in deny)
        or bool(allow and not any(one.overlaps(net) for net in allow))
        for one in own_deny
    )


def _inside(small: Network, wide: Network) -> bool:
    if isinstance(small, ipaddress.IPv4Network):
        return isinstance(wide, ipaddress.IPv4Network) and small.subnet_of(wide)
    return isinstance(wide, ipaddress.IPv6Network) and small.subnet_of(wide)


# -- behind proxies ---------------------------------------------------------------------------------------------------
def client_of(peer: str, hops: Sequence[str], trusted: tuple[Network, ...]) -> str:
    """Return who asks: `peer`, or, when that is a trusted proxy, the last of `hops` that is not one.

    `hops` are what `X-Forwarded-For` or `Forwarded` names, the nearest last. A hop that is no address ends the search
    at the proxy that named it: nothing beyond it can be believed.
    """
    at = parse_address(peer)
    if at is None or not _among(at, trusted):
        return peer if at is None else str(at)
    for hop in reversed(hops):
        found = parse_address(_bare(hop))
        if found is None:
            break
        at = found
        if not _among(at, trusted):
            break
    return str(at)


def _among(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def is_trusted(peer: str, trusted: tuple[Network, ...]) -> bool:
    """Return whether `peer` is one of the proxies."""
    at = parse_address(peer)
    return at is not None and _among(at, trusted)


def _bare(hop: str) -> str:
    """Return a hop without quotes, brackets and port."""
    text = hop.strip().strip('"')
    match = _PORT.fullmatch(text)
    return text if match is None else match["six"] or match["four"]


def forwarded(header: str) -> list[tuple[str, str]]:
    """Return (for, proto) of each hop of a `Forwarded` header (RFC 7239), the nearest last; "" for what is missing."""
    hops = []
    for element in header.split(","):
        pairs = {
            name.strip().lower(): value.strip().strip('"')
            for name, equals, value in (pair.partition("=") for pair in element.split(";"))
            if equals
        }
        hops.append((pairs.get("for", ""), pairs.get("proto", "").lower()))
    return hops


# -- whom to ask ------------------------------------------------------------------------------------------------------
_INNER: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)
_GLOBAL_SIX: Final = ipaddress.ip_network("2000::/3")


def is_public(address: str) -> bool:
    """Return whether `address` is of the open internet: not of this machine, this network, or a tunnel into one."""
    at = parse_address(address)
    if at is None or _among(at, _INNER):
        return False
    return at.version == 4 or at in _GLOBAL_SIX
