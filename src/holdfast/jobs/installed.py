"""Every kind of job, each in its own file. A new kind is one more line here."""

from __future__ import annotations

from holdfast.jobs.adopt import Adopt
from holdfast.jobs.backup import Backup
from holdfast.jobs.backup_care import BackupPrune, BackupVerify
from holdfast.jobs.batch import BatchKind
from holdfast.jobs.clone import CloneBucket
from holdfast.jobs.drill import Drill
from holdfast.jobs.follow import Follow
from holdfast.jobs.fsck import Fsck
from holdfast.jobs.kinds import Kind, Kinds
from holdfast.jobs.lifecycle import Lifecycle
from holdfast.jobs.moving import Drain, FinishMove, Migrate, Mirror
from holdfast.jobs.rebuild import Rebuild
from holdfast.jobs.restore import Restore
from holdfast.jobs.rewind import Rewind
from holdfast.jobs.scrub import Scrub
from holdfast.jobs.tiering import Archive, Recall, Tier
from holdfast.jobs.upstream_gate import VerifyUpstream


def installed() -> Kinds:
    """Return all kinds."""
    kinds: list[Kind] = [BatchKind()]
    kinds += [Migrate(), FinishMove(), Drain(), Mirror(), Tier(), Archive(), Recall()]
    kinds += [Scrub(), Fsck(), Rebuild()]
    kinds += [Adopt(), Follow(), VerifyUpstream()]
    kinds += [Lifecycle()]
    kinds += [Backup(), Restore(), Drill(), BackupVerify(), BackupPrune()]
    kinds += [Rewind(), CloneBucket()]
    return Kinds(kinds)
