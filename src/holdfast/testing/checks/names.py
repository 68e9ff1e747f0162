"""What a blob may be called."""

from __future__ import annotations

from typing import Final

from holdfast.core.body import Body
from holdfast.core.errors import InvalidRequestError
from holdfast.testing.harness import Harness, promise, refused, same

_GRAMMAR: Final = "ABCXYZabcxyz0189!$'()*+,.:;=@_~-"


async def _keeps(h: Harness, tails: list[str]) -> None:
    """Check that all names live side by side, each with its own content, and are listed in byte order."""
    for tail in tails:
        await h.put(tail, tail.encode())
    for tail in tails:
        await h.holds(tail, tail.encode())
    same(await h.names(), sorted(tails), "the listing")
    for tail in tails[::2]:
        await h.delete(tail)
    for tail in tails[1::2]:
        await h.holds(tail, tail.encode())
    same(await h.names(), sorted(tails[1::2]), "the listing after every second one was deleted")
    await h.clean()


@promise()
async def every_character_of_the_grammar_is_kept(h: Harness) -> None:
    """Each character that a blob name may hold is stored unchanged: first, in the middle, last, and as a folder."""
    tails = [f"{char}x" for char in _GRAMMAR] + [f"m{char}m" for char in _GRAMMAR]
    tails += [f"l{char}" for char in _GRAMMAR] + [f"f{char}/{char}f" for char in _GRAMMAR]
    await _keeps(h, tails)


@promise()
async def a_segment_may_have_255_bytes(h: Harness) -> None:
    """Segments of 255 bytes are kept apart to the last byte, as blobs and as folders."""
    await _keeps(
        h, ["s" * 253, "s" * 254, "s" * 255, "s" * 254 + "t", "s" * 254 + ".", "s" * 255 + "/" + "t" * 255]
    )


@promise()
async def a_name_may_have_1024_bytes(h: Harness) -> None:
    """Names are kept apart up to 1,024 bytes in all, however deep."""
    room = 1024 - len(h.prefix)
    deep = "/".join(["deeper"] * 200)[: room - 2].rstrip("/")
    wide = "/".join(["w" * 200] * 6)[:room].rstrip("/")
    await _keeps(h, [deep, deep + "/e", wide, wide[:-1] + "v"])


@promise()
async def a_blob_and_a_folder_may_share_a_name(h: Harness) -> None:
    """`a` lives beside `a/b` and `a/b/c`, whichever comes first, and goes without them."""
    await _keeps(h, ["a", "a/b", "a/b/c"])
    await _keeps(h, ["z/b/c", "z/b", "z"])


@promise()
async def names_that_begin_alike_are_different(h: Harness) -> None:
    """One name may be the beginning of another one."""
    await _keeps(h, ["ab", "a", "abc", "ab/c", "ab.c", "ab-c", "ab0", "ab/c0"])


@promise()
async def names_that_differ_in_case_are_different(h: Harness) -> None:
    """Upper and lower case are two names."""
    await _keeps(h, ["case", "Case", "CASE", "cAse/x", "case/x", "case/X"])


@promise()
async def dots_mean_nothing(h: Harness) -> None:
    """Dots are characters like others unless a whole segment is one or two of them."""
    await _keeps(
        h, [".hidden", "a..b", "..a", "a..", "trailing.", "...", "a/.b", "con", "nul.txt", "a.tar.gz"]
    )


@promise()
async def names_that_look_encoded_are_not(h: Harness) -> None:
    """Nothing in a name is decoded or encoded: `=2F`, `+` and `~1` stay what they are."""
    await _keeps(h, ["a=2Fb", "a+b", "a=20b", "a~1", "a_b", "a=00", "x=y;z", "a@b:c"])


@promise()
async def names_outside_the_grammar_are_refused(h: Harness) -> None:
    """What could leave the store or be rewritten by it raises `InvalidRequestError`, in every verb."""
    bad = ["", "/", "/abs", "a/", "a//b", ".", "..", "../x", "a/../b", "a/./b", "a\0b", "a\nb", "a b", "a\\b"]
    bad += [
        "a%2fb",
        "ä",
        "a" * 256,
        "a/" + "b" * 256,
        "/".join(["n" * 200] * 6),
        "a?b",
        "a#b",
        "a%",
        "\udc80",
    ]
    for name in bad:
        with refused(InvalidRequestError, f"put of {name[:20]!r}"):
            await h.backend.put(name, Body.of_bytes(b"x"))
        with refused(InvalidRequestError, f"head of {name[:20]!r}"):
            await h.backend.head(name)
        with refused(InvalidRequestError, f"get of {name[:20]!r}"):
            async with h.backend.get(name):
                pass
        with refused(InvalidRequestError, f"delete of {name[:20]!r}"):
            await h.backend.delete(name)
