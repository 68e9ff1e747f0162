"""What placement is asked about, gathered: of an object that comes in, of an upload, and of what is held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from holdfast.core.records import HeldVersion
from holdfast.core.types import EMPTY, Bucket, ObjectRef, Upload, Version
from holdfast.engine.context import Context
from holdfast.policy.placement import LOOK, Facts, Placement, Plan

STORAGE_CLASS: Final = "storage-class"  #: the option of an upload that keeps what its maker asked for


class Asking:
    """The placement in force, asked about objects of one bucket. Made by `asking`, used at once."""

    __slots__ = ("_bucket", "_inline", "placement")

    def __init__(self, placement: Placement, bucket: Bucket, inline: int | None) -> None:
        self.placement = placement
        self._bucket = bucket
        self._inline = inline

    @property
    def look(self) -> int:
        """How many bytes of a body of unknown size decide where it belongs."""
        return min(max(self.placement.thresholds, self._inline or 0), LOOK)

    def facts(
        self,
        ref: ObjectRef,
        size: int | None,
        content_type: str,
        *,
        tags: Mapping[str, str] = EMPTY,
        storage_class: str = "",
        apart: bool = False,
        tier: str = "",
    ) -> Facts:
        """Return what is known of an object; with `apart` it never lives in the catalog."""
        apart = apart or self._bucket.settings.encryption != "none"
        return Facts(ref, size, content_type, storage_class, tags, self._inline, apart, tier)

    def plan(self, facts: Facts) -> Plan:
        """Return where it belongs."""
        return self.placement.plan(facts)

    def of_upload(self, upload: Upload) -> Plan:
        """Return where the parts of an upload belong."""
        return self.plan(
            self.facts(
                upload.ref,
                upload.length,
                upload.content_type,
                tags=upload.tags,
                storage_class=upload.options.get(STORAGE_CLASS, ""),
                apart=True,
            )
        )

    def of_version(self, version: Version, *, parts: int = 1) -> Plan:
        """Return where a version that is there belongs now; one of several `parts` stays out of the catalog."""
        return self.plan(
            self.facts(
                version.ref,
                version.size,
                version.content_type,
                tags=version.tags,
                storage_class=version.storage_class,
                apart=parts > 1,
                tier=version.tier,
            )
        )


async def asking(context: Context, bucket: Bucket) -> Asking:
    """Return the placement in force for objects of `bucket`; the stores that it names are looked up with it."""
    await context.stores.refresh()
    return Asking(await context.placing.fresh(), bucket, await context.rules.inline(bucket))


def facts_held(version: HeldVersion) -> Facts:
    """Return what is known of a version that is there, as `Asking.of_version` gathers it."""
    return Facts(
        version.ref,
        version.size,
        version.content_type,
        version.storage_class,
        version.tags,
        version.inline,
        version.encrypted or version.parts > 1,
        version.tier,
    )
