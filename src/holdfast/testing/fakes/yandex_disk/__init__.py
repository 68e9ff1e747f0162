"""A fake of the REST interface of Yandex.Disk, made from its documentation and from what known clients met.

    with FakeYandexDisk() as fake:
        settings = YandexDiskSettings.model_validate(fake.settings())
        ...
        fake.faults.add(Fault(Kind.STATUS, "PUT /upload-target", status=503))

It is not the service, and what it does is no proof of what the service does. Time comes from a clock that can be handed
in; nothing in it sleeps. What it promises, each with a test of its own in `tests/unit/test_fake_yandex_disk.py`:

1. a missing token and `Bearer` are refused with 401;
2. a listing shows 20 items unless it is asked for more;
3. a folder is made in one level only, with its three kinds of 409;
4. upload links lie under a random path, are good for one PUT and for 30 minutes;
5. the operation of an upload is in progress before and succeeded after; what was uploaded may show late;
6. deleting a folder that is not empty is 202 and ends after some polls, or fails;
7. the trash counts as used;
8. 507 when full, 413 above the limit, 423 and 429 (with and without Retry-After) on demand;
9. what would be slowed by its name is recorded, not slowed;
10. MD5 and SHA-256 are those of the bytes;
11. a download link that has ended is answered 410 with a page;
12. `_embedded`, `fields` and `sort`;
13. of `Content-Range` only HEAD and then one PUT of the rest is taken; anything else is 412.
"""

from __future__ import annotations

from holdfast.testing.fakes.yandex_disk.disk import Disk
from holdfast.testing.fakes.yandex_disk.faults import Fault, Faults, Kind
from holdfast.testing.fakes.yandex_disk.running import FakeYandexDisk
from holdfast.testing.fakes.yandex_disk.things import Refused, Rules

__all__ = ["Disk", "FakeYandexDisk", "Fault", "Faults", "Kind", "Refused", "Rules"]
