"""`[placement]`: where objects go, as the file of one process says it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from holdfast.config.exposure import Words
from holdfast.config.units import Size

Bytes = Annotated[Size, Field(ge=0)]
Copies = Literal["all"] | Annotated[int, Field(ge=1)]


class MatchSettings(BaseModel):
    """What a rule is about: each that is given must hold, of several values one is enough; `*` and `?` in patterns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenants: Words = Field((), description="tenants, or patterns")
    buckets: Words = Field((), description="buckets, or patterns")
    content_types: Words = Field((), description="content types, or patterns such as image/*")
    keys: Words = Field((), description="patterns of keys, such as *.zip; * also takes slashes")
    min_size: Bytes | None = Field(None, description="size from which on it is about")
    max_size: Bytes | None = Field(None, description="size below which it is about")
    storage_classes: Words = Field((), description="storage classes that writers ask for")
    tags: dict[str, str] = Field(
        default_factory=dict, description="tags that must be there with these values"
    )


class RuleSettings(BaseModel):
    """One of `[[placement.rules]]`. The first that matches decides; tenants before content types before all others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="how it is called in explanations")
    match: MatchSettings = Field(default_factory=MatchSettings)
    stores: Words = Field(description="the stores that hold a copy, best first")
    acknowledge: Copies = Field(
        1, description="copies that must be durable before a writer is answered: a number, or all"
    )
    inline: Bytes | None = Field(
        None,
        description="size below which contents live in the catalog; none: as bucket, tenant or service say",
    )
    when_down: Literal["refuse", "fallback"] = Field(
        "refuse", description="what happens when too few of its stores take something"
    )
    fallback: Words = Field((), description="the stores that take it then")
    encrypt: bool = Field(
        False,
        description="encrypt contents before they leave this process; none of them lives in the catalog",
    )

    @property
    def members(self) -> dict[str, Any]:
        """The rule as rules travel."""
        return self.model_dump(mode="json")


class PlacementSettings(BaseModel):
    """Where objects go."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stores: Words = Field(
        ("local",), description="the stores that hold a copy of every object that no rule matches, best first"
    )
    acknowledge: Copies = Field(
        1, description="copies that must be durable before a writer is answered: a number, or all"
    )
    inline: Bytes = Field(
        64 << 10, le=4 << 20, description="size below which contents live in the catalog; 0: none do"
    )
    when_down: Literal["refuse", "fallback"] = Field(
        "refuse", description="what happens when too few of these stores take something"
    )
    fallback: Words = Field((), description="the stores that take it then")
    encrypt: bool = Field(
        False,
        description="encrypt what no rule matches before it leaves this process; none of it lives in the catalog",
    )
    rules: tuple[RuleSettings, ...] = Field(
        (),
        description="rules of this process, `[[placement.rules]]`; with any, those of the catalog do not count here",
    )
