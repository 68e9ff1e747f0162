"""Who may do what, as tables."""

from __future__ import annotations

import itertools

import pytest

from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import Principal, Scope, Visibility
from holdfast.policy.access import ANONYMOUS, GRANTABLE, ROLES, decide, narrower
from holdfast.policy.scopes import MOST, format_scope, parse_scope, parse_scopes

pytestmark = pytest.mark.unit


def somebody(role: str, *scopes: str) -> Principal:
    return Principal("p", "t", role, scopes=parse_scopes(scopes))


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        (
            "reader",
            "get head list versions search usage whoami create_token",
            "put delete upload audit create_key",
        ),
        ("writer", "get put delete upload update", "create_bucket delete_bucket audit create_key tenants"),
        (
            "admin",
            "put create_bucket update_bucket audit create_key revoke_key",
            "tenants create_tenant operate",
        ),
        ("operator", "put audit create_key tenants create_tenant update_tenant operate", "fly"),
        (ANONYMOUS, "get head", "list versions search put whoami create_token usage"),
        ("unheard-of", "", "get head list put"),
    ],
)
def test_a_role_names_its_verbs(role: str, may: str, may_not: str) -> None:
    for verb in may.split():
        assert decide(somebody(role), verb).allowed, verb
    for verb in may_not.split():
        assert not decide(somebody(role), verb).allowed, verb


def test_each_role_holds_the_ones_before_it() -> None:
    for less, more in itertools.pairwise(GRANTABLE):
        assert ROLES[less] < ROLES[more]
    assert ANONYMOUS not in GRANTABLE


@pytest.mark.parametrize(
    ("scope", "verb", "bucket", "key", "prefix", "allowed"),
    [
        # a bucket
        ("photos", "get", "photos", "a/b.jpg", "", True),
        ("photos", "get", "photos2", "a/b.jpg", "", False),
        ("photos", "list", "photos", None, "", True),
        ("photos", "list", "photos", None, "any/", True),
        ("photos", "usage", "", None, "", False),  # of all buckets
        ("photos", "create_bucket", "photos", None, "", True),
        ("photos", "create_bucket", "other", None, "", False),
        ("photos", "list_keys", "", None, "", False),  # of the whole tenant
        # a pattern
        ("team-*", "get", "team-a", "k", "", True),
        ("team-*", "get", "teams", "k", "", False),
        ("*-logs", "put", "web-logs", "k", "", True),
        ("*-logs", "put", "web-logs-2", "k", "", False),
        ("a*b*c", "put", "a1b2c", "k", "", True),
        ("a.c", "put", "abc", "k", "", False),  # a dot is a dot
        ("*", "usage", "", None, "", True),
        # a prefix
        ("photos/2024/*", "get", "photos", "2024/a.jpg", "", True),
        ("photos/2024/*", "get", "photos", "2024", "", False),
        ("photos/2024/*", "get", "photos", "2025/a.jpg", "", False),
        ("photos/2024/*", "get", "photos", "x/2024/a.jpg", "", False),
        ("photos/2024/*", "list", "photos", None, "2024/", True),
        ("photos/2024/*", "list", "photos", None, "2024/07/", True),
        ("photos/2024/*", "list", "photos", None, "2024", False),
        ("photos/2024/*", "list", "photos", None, "", False),
        ("photos/2024/*", "usage", "photos", None, "", False),
        ("photos/2024/*", "delete_bucket", "photos", None, "", False),
        ("*/own/*", "usage", "", None, "", False),
        # one key
        ("photos/a.jpg", "get", "photos", "a.jpg", "", True),
        ("photos/a.jpg", "get", "photos", "a.jpg2", "", False),
        ("photos/a.jpg", "list", "photos", None, "a.jpg", False),
        ("photos/a.jpg", "list", "photos", None, "", False),
        # verbs
        ("get,head:photos", "get", "photos", "k", "", True),
        ("get,head:photos", "put", "photos", "k", "", False),
        ("get,head:photos", "list", "photos", None, "", False),
        ("read:photos", "list", "photos", None, "", True),
        ("read:photos", "put", "photos", "k", "", False),
        ("write:photos", "put", "photos", "k", "", True),
        ("write:photos", "get", "photos", "k", "", False),
        ("put:photos/in/*", "put", "photos", "in/x", "", True),
        ("put:photos/in/*", "delete", "photos", "in/x", "", False),
        # about the credential alone
        ("get:photos/a.jpg", "whoami", "", None, "", True),
        ("get:photos/a.jpg", "create_token", "", None, "", True),
    ],
)
def test_a_scope_narrows_to_verbs_buckets_and_keys(
    scope: str, verb: str, bucket: str, key: str | None, prefix: str, allowed: bool
) -> None:
    decision = decide(somebody("admin", scope), verb, bucket=bucket, key=key, prefix=prefix)
    assert decision.allowed is allowed, decision.reason


def test_one_of_several_scopes_is_enough_and_none_adds_to_the_role() -> None:
    two = somebody("writer", "read:a", "write:b/in/*")
    assert decide(two, "get", bucket="a", key="k").allowed
    assert decide(two, "put", bucket="b", key="in/k").allowed
    assert not decide(two, "put", bucket="a", key="k").allowed
    assert not decide(two, "get", bucket="b", key="in/k").allowed
    assert not decide(somebody("reader", "write:a"), "put", bucket="a", key="k").allowed
    assert not decide(somebody("writer", "create_bucket:*"), "create_bucket", bucket="a").allowed


def test_nobody_may_read_public_buckets_alone() -> None:
    nobody = Principal("", "t", ANONYMOUS)
    assert decide(nobody, "get", bucket="b", key="k", visibility=Visibility.PUBLIC).allowed
    assert not decide(nobody, "get", bucket="b", key="k", visibility=Visibility.PRIVATE).allowed
    assert not decide(nobody, "list", bucket="b", visibility=Visibility.PUBLIC).allowed


@pytest.mark.parametrize(
    ("mine", "role", "asked", "inside"),
    [
        (("admin",), "admin", (), True),
        (("admin",), "writer", ("photos",), True),
        (("admin",), "operator", (), False),
        (("writer",), "admin", ("photos",), False),
        (("reader",), "anonymous", (), False),
        (("operator",), "operator", (), True),
        (("writer", "photos"), "writer", (), False),  # without scopes is more than with one
        (("writer", "photos"), "writer", ("photos",), True),
        (("writer", "photos"), "reader", ("photos/2024/*",), True),
        (("writer", "photos"), "reader", ("photos/a.jpg",), True),
        (("writer", "photos"), "reader", ("other",), False),
        (("writer", "photos"), "reader", ("*",), False),
        (("writer", "photos"), "reader", ("photos", "other"), False),
        (("writer", "team-*"), "reader", ("team-a",), True),
        (("writer", "team-*"), "reader", ("team-a*",), True),
        (("writer", "team-*"), "reader", ("t*",), False),
        (("writer", "team-*"), "reader", ("*",), False),
        (("writer", "*-a"), "reader", ("*-b-a",), True),
        (("writer", "photos/2024/*"), "reader", ("photos/2024/07/*",), True),
        (("writer", "photos/2024/*"), "reader", ("photos",), False),
        (("writer", "photos/2024/*"), "reader", ("photos/20*",), False),
        (("writer", "photos/2024/*"), "reader", ("photos/2024/a",), True),
        (("writer", "photos/2024/*"), "reader", ("photos/2023/a",), False),
        (("writer", "photos/a.jpg"), "reader", ("photos/a.jpg",), True),
        (("writer", "photos/a.jpg"), "reader", ("photos/b.jpg",), False),
        (("writer", "photos/a.jpg"), "reader", ("photos/a*",), False),
        (("writer", "read:photos"), "writer", ("photos",), False),
        (("writer", "read:photos"), "writer", ("read:photos",), True),
        (("writer", "read:photos"), "reader", ("photos",), True),
        (("writer", "read:photos"), "writer", ("get,put:photos",), False),
        (("writer", "read:a", "write:b"), "writer", ("get:a", "put:b"), True),
        (("writer", "read:a", "write:b"), "writer", ("put:a",), False),
    ],
)
def test_nobody_gives_away_more_than_they_have(
    mine: tuple[str, ...], role: str, asked: tuple[str, ...], inside: bool
) -> None:
    decision = narrower(somebody(*mine), role, parse_scopes(asked))
    assert decision.allowed is inside, decision.reason


@pytest.mark.parametrize("mine", ["photos", "read:team-*", "write:p/in/*", "get,put:p/k", "*", "a*b*"])
@pytest.mark.parametrize(
    "asked", ["photos", "get:team-x", "put:p/in/y/*", "get:p/k", "*", "a*b", "put:p/in/z", "a*b*c"]
)
def test_what_is_narrower_allows_nothing_more(mine: str, asked: str) -> None:
    maker = somebody("writer", mine)
    made = parse_scopes([asked])
    if not narrower(maker, "writer", made).allowed:
        return
    child = Principal("c", "t", "writer", scopes=made)
    for verb in ROLES["writer"]:
        for bucket in ("photos", "team-x", "p", "ab", "a1b", "a1b2", "a1bc", ""):
            for key, prefix in (
                ("k", ""),
                ("in/y/1", ""),
                ("in/z", ""),
                (None, ""),
                (None, "in/y/"),
                (None, "in/"),
            ):
                if decide(child, verb, bucket=bucket, key=key, prefix=prefix).allowed:
                    assert decide(maker, verb, bucket=bucket, key=key, prefix=prefix).allowed


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("*", Scope()),
        ("photos", Scope("photos")),
        ("photos/", Scope("photos")),
        ("photos/*", Scope("photos")),
        ("photos/a/*", Scope("photos", "a/")),
        ("photos/a*", Scope("photos", "a")),
        ("photos/a", Scope("photos", key="a")),
        ("get,put:photos/a", Scope("photos", "", ("get", "put"), "a")),
        ("read:team-*/x/*", Scope("team-*", "x/", ("read",))),
        ("photos/a:b", Scope("photos", key="a:b")),
        ("photos/a%20b%2A", Scope("photos", key="a b*")),
        ("photos/%C3%A9*", Scope("photos", "é")),
    ],
)
def test_a_scope_is_read_from_text_and_written_as_text(text: str, scope: Scope) -> None:
    assert parse_scope(text) == scope
    assert parse_scope(format_scope(scope)) == scope
    assert " " not in format_scope(scope)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "get:",
        "fly:photos",
        "get,fly:photos",
        "Photos",
        "a b",
        "get:/key",
        "photos/a*b",
        "photos/%ff",
        "photos/%00",
        "whoami:photos",
        "tenants:*",
        "photos/" + "a" * 1025,
        "x" * 64,
    ],
)
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_scope(text)


def test_a_credential_has_a_bounded_number_of_scopes() -> None:
    assert len(parse_scopes(["a"] * MOST)) == MOST
    with pytest.raises(InvalidRequestError):
        parse_scopes(["a"] * (MOST + 1))
