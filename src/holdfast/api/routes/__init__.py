"""Every route of the door, one table per kind of thing: what serves and what describes it is the same line."""

from holdfast.api.routes.access import ACCESS
from holdfast.api.routes.audit import AUDIT
from holdfast.api.routes.backups import BACKUPS
from holdfast.api.routes.batch import batch_routes
from holdfast.api.routes.buckets import BUCKETS
from holdfast.api.routes.compat import compat
from holdfast.api.routes.cost import COST
from holdfast.api.routes.declaring import DECLARING
from holdfast.api.routes.encrypting import ENCRYPTING
from holdfast.api.routes.executions import executions
from holdfast.api.routes.files import file_routes
from holdfast.api.routes.findings import FINDINGS
from holdfast.api.routes.following import FOLLOWING
from holdfast.api.routes.jobs import jobs
from holdfast.api.routes.moving import MOVING
from holdfast.api.routes.objects import OBJECTS
from holdfast.api.routes.pages import pages
from holdfast.api.routes.params import BINARY, FORM
from holdfast.api.routes.placing import PLACING
from holdfast.api.routes.reconciling import reconciliation
from holdfast.api.routes.retention import RETENTION
from holdfast.api.routes.service import service
from holdfast.api.routes.sharing import sharing
from holdfast.api.routes.snapshots import SNAPSHOTS
from holdfast.api.routes.stats import stats
from holdfast.api.routes.stores import STORAGES, STORES
from holdfast.api.routes.tus import tus
from holdfast.api.routes.uploads import UPLOADS

__all__ = [
    "ACCESS",
    "AUDIT",
    "BACKUPS",
    "BINARY",
    "BUCKETS",
    "COST",
    "DECLARING",
    "ENCRYPTING",
    "FINDINGS",
    "FOLLOWING",
    "FORM",
    "MOVING",
    "OBJECTS",
    "PLACING",
    "RETENTION",
    "SNAPSHOTS",
    "STORAGES",
    "STORES",
    "UPLOADS",
    "batch_routes",
    "compat",
    "executions",
    "file_routes",
    "jobs",
    "pages",
    "reconciliation",
    "service",
    "sharing",
    "stats",
    "tus",
]
