"""The first of many matches that holds, without asking one after the other.

Each fact alone leaves some of the matches: a number whose bit `i` is set when match `i` holds as far as that fact goes.
What is left of all of them together is asked in order. Patterns of tenants, buckets and content types, of which there
are few, are asked once; those of keys by the few lengths that their fixed starts and ends have.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from holdfast.policy.placement import Facts, Match

_REMEMBERED: Final = 4096  #: values of one fact
_COMPILED: Final = 16384  #: patterns, more than there may be in all rules
_WILD: Final = re.compile(r"[*?]")
_CONTAINS: Final = re.compile(r"\*+[^*?]*\*+")


def any_like(patterns: Sequence[str], text: str) -> bool:
    """Return whether `text` is one of `patterns`, which have `*` and `?`."""
    return any(
        pattern == text or (is_wild(pattern) and like(pattern)(text) is not None) for pattern in patterns
    )


def is_wild(pattern: str) -> bool:
    """Return whether `pattern` stands for more than itself."""
    return "*" in pattern or "?" in pattern


@lru_cache(_COMPILED)
def like(pattern: str) -> Callable[[str], object]:
    """Return what matches a text with `pattern`: `*` any text, `?` any character, all others themselves."""
    return re.compile(translate(pattern.replace("[", "[[]"))).match


def plain_type(content_type: str) -> str:
    """Return a content type without its parameters, as patterns are compared with it."""
    return content_type.partition(";")[0].strip().lower()


class Matches:
    """Matches in their order, indexed by what they ask about."""

    def __init__(self, matches: Sequence[Match]) -> None:
        self._tags = [tuple(match.tags.items()) for match in matches]
        self._tenants = _Words([match.tenants for match in matches])
        self._buckets = _Words([match.buckets for match in matches])
        self._types = _Words([match.content_types for match in matches])
        self._keys = _Keys([match.keys for match in matches])
        self._classes = _Words([match.storage_classes for match in matches], wild=False)
        self._sizes = _Sizes(matches)
        self._untagged = _bits(index for index, tags in enumerate(self._tags) if not tags)
        self._tagged: dict[tuple[str, str], int] = {}
        for index, tags in enumerate(self._tags):
            if tags:
                self._tagged[tags[0]] = self._tagged.get(tags[0], 0) | 1 << index
        self._by_type: dict[str, int] = {}

    def first(self, facts: Facts) -> int:
        """Return the place of the first match that holds for `facts`, -1 when none does."""
        ref = facts.ref
        left = self._tenants.of(ref.tenant) & self._buckets.of(ref.bucket) & self._of_type(facts.content_type)
        if left:
            left &= self._sizes.of(facts.size) & self._classes.of(facts.storage_class)
        if left:
            left &= self._keys.of(ref.key)
        if left and self._tagged:
            left &= self._of_tags(facts)
        while left:
            lowest = left & -left
            index = lowest.bit_length() - 1
            tags = self._tags[index]
            if len(tags) < 2 or all(facts.tags.get(name) == value for name, value in tags):
                return index
            left ^= lowest
        return -1

    def _of_type(self, content_type: str) -> int:
        found = self._by_type.get(content_type)
        if found is None:
            if len(self._by_type) >= _REMEMBERED:
                self._by_type.clear()
            found = self._by_type[content_type] = self._types.of(plain_type(content_type))
        return found

    def _of_tags(self, facts: Facts) -> int:
        found = self._untagged
        for pair in facts.tags.items():
            found |= self._tagged.get(pair, 0)
        return found


def _bits(places: Iterable[int]) -> int:
    found = 0
    for place in places:
        found |= 1 << place
    return found


class _Words:
    """Which matches hold for a word: those that ask for none, those that name it, those with a pattern like it."""

    def __init__(self, asked: Sequence[tuple[str, ...]], *, wild: bool = True) -> None:
        self._free = _bits(index for index, words in enumerate(asked) if not words)
        self._exact: dict[str, int] = {}
        self._wild: list[tuple[Callable[[str], object], int]] = []
        patterns: dict[str, int] = {}
        for index, words in enumerate(asked):
            for word in words:
                self._exact[word] = self._exact.get(word, 0) | 1 << index
                if wild and is_wild(word):
                    patterns[word] = patterns.get(word, 0) | 1 << index
        self._wild = [(like(pattern), bits) for pattern, bits in patterns.items()]
        self._known: dict[str, int] = {}

    def of(self, word: str) -> int:
        found = self._known.get(word)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._free | self._exact.get(word, 0)
            for matches, bits in self._wild:
                if matches(word) is not None:
                    found |= bits
            self._known[word] = found
        return found


class _Keys:
    """As `_Words`, for words of which no two are alike: nothing is remembered, and few patterns are tried."""

    def __init__(self, asked: Sequence[tuple[str, ...]]) -> None:
        self._free = _bits(index for index, words in enumerate(asked) if not words)
        self._exact: dict[str, int] = {}
        self._starts: dict[int, dict[str, int]] = {}
        self._ends: dict[int, dict[str, int]] = {}
        others: dict[str, int] = {}
        for index, words in enumerate(asked):
            for word in words:
                self._add(word, 1 << index, others)
        self._others = [
            (_longest(pattern), None if _CONTAINS.fullmatch(pattern) else like(pattern), bits)
            for pattern, bits in others.items()
        ]

    def _add(self, word: str, bit: int, others: dict[str, int]) -> None:
        _or(self._exact, word, bit)
        if not is_wild(word):
            return
        if not is_wild(word[:-1]) and word.endswith("*"):
            _or(self._starts.setdefault(len(word) - 1, {}), word[:-1], bit)
        elif not is_wild(word[1:]) and word.startswith("*"):
            _or(self._ends.setdefault(len(word) - 1, {}), word[1:], bit)
        else:
            _or(others, word, bit)

    def of(self, key: str) -> int:
        found = self._free | self._exact.get(key, 0)
        for length, starts in self._starts.items():
            found |= starts.get(key[:length], 0)
        for length, ends in self._ends.items():
            found |= ends.get(key[-length:], 0)
        for piece, matches, bits in self._others:
            if piece in key and (matches is None or matches(key) is not None):
                found |= bits
        return found


def _longest(pattern: str) -> str:
    """Return the longest text that every text like `pattern` has in it."""
    return max(_WILD.split(pattern), key=len)


def _or(table: dict[str, int], name: str, bit: int) -> None:
    table[name] = table.get(name, 0) | bit


class _Sizes:
    """Which matches hold for a size: a table with one entry for every stretch between two limits."""

    def __init__(self, matches: Sequence[Match]) -> None:
        limits = {0, *(limit for match in matches for limit in (match.min_size, match.max_size) if limit)}
        self._from = sorted(limits)
        self._held = _holding(matches, self._from)
        self._unknown = _bits(index for index, match in enumerate(matches) if match.max_size is None)

    def of(self, size: int | None) -> int:
        if size is None:
            return self._unknown
        return self._held[bisect_right(self._from, size) - 1]


def _holding(matches: Sequence[Match], limits: Sequence[int]) -> list[int]:
    """Return which matches hold from each of `limits`, ascending, to the next one."""
    turns = dict.fromkeys(limits, 0)
    for index, match in enumerate(matches):
        least, most = match.min_size or 0, match.max_size
        if most is not None and least >= most:
            continue
        turns[least] ^= 1 << index
        if most is not None:
            turns[most] ^= 1 << index
    held, found = [], 0
    for limit in limits:
        found ^= turns[limit]
        held.append(found)
    return held
