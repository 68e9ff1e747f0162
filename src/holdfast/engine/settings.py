"""The engine's own numbers, each with its default and why."""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.core.types import Rate
from holdfast.policy.artifacts import Naming
from holdfast.policy.backups import BackupSettings
from holdfast.policy.prices import PriceBook


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Sizes in bytes, times in seconds."""

    max_object_size: int | None = None  #: of one version; None leaves it to the stores
    md5_limit: int = 16 << 20  #: bodies up to this size get an MD5 ETag
    small_read: int = 64 << 10  #: spans up to this size are read at once, not streamed
    hot: int = 32 << 20  #: memory for small contents that were read lately
    lease: float = 900.0  #: how long a write in progress is protected without a sign of life
    grace: float = 24 * 3600.0  #: how long replaced bytes stay for readers that still hold them
    upload_lifetime: float = 7 * 24 * 3600.0  #: how long a multipart upload may stay open
    idempotency_lifetime: float = 24 * 3600.0  #: how long an idempotency key is remembered
    default_retention_days: int | None = None  #: of buckets made without their own settings; None: never
    principal_rate: Rate = field(
        default_factory=Rate
    )  #: of principals without their own, as the doors keep it
    failover_after: float = (
        5.0  #: a store is left for another one that takes or gives nothing for so long; 0: never
    )
    failover_rate: int = 256 << 10  #: bytes per second below which it is left, too
    read_attempts: int = 3  #: breaks without progress, for each copy, before a read that has begun gives up
    redirect_signed: bool = True  #: readers with a signed URL are sent to external stores that sign URLs too
    artifact_buckets: Naming = field(default_factory=Naming)  #: how the default buckets are called
    artifact_roots: tuple[str, ...] = ()  #: folders below which artifacts may be files that are read in place
    hash_threads: int = 2  #: threads that digest large chunks beside the flow
    backup: BackupSettings = field(default_factory=BackupSettings)  #: of backups that say nothing else
    prices: PriceBook = field(default_factory=PriceBook)  #: without any row, nothing has a known price
