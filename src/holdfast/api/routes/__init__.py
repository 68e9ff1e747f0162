"""Every route of the door, one table per kind of thing: what serves and what describes it is the same line."""

from holdfast.api.routes.buckets import BUCKETS
from holdfast.api.routes.objects import OBJECTS
from holdfast.api.routes.params import BINARY, FORM
from holdfast.api.routes.service import service
from holdfast.api.routes.uploads import UPLOADS

__all__ = ["BINARY", "BUCKETS", "FORM", "OBJECTS", "UPLOADS", "service"]
