"""The Django storage, in a real Django: by the storage API, and as the storage of a model's field."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django
import pytest
from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile

from tests.doors.rest_service import Service, serving

pytestmark = pytest.mark.doors


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("service")) as running:
        settings.configure(
            USE_TZ=True,
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            STORAGES={
                "default": {
                    "BACKEND": "holdfast.library.django.HoldfastStorage",
                    "OPTIONS": {
                        "bucket": "media",
                        "target": f"http://127.0.0.1:{running.port}",
                        "token": "any",
                        "location": "site",
                    },
                }
            },
        )
        django.setup()
        yield running


@pytest.fixture
def storage(service: Service) -> Any:
    from django.core.files.storage import default_storage

    return default_storage


def test_files_are_saved_read_listed_and_removed(storage: Any) -> None:
    before = datetime.now(UTC)
    name = storage.save("docs/report.txt", ContentFile(b"first"))
    assert name == "docs/report.txt"
    other = storage.save("docs/report.txt", ContentFile(b"second"))
    assert other != name
    assert other.startswith("docs/report_")
    with storage.open(name) as file:
        assert file.read() == b"first"
        assert file.size == 5
    assert (storage.exists(name), storage.exists("docs"), storage.exists("nothing")) == (True, False, False)
    assert storage.size(other) == 6
    assert storage.get_modified_time(name) == storage.get_created_time(name)
    assert abs((storage.get_modified_time(name) - before).total_seconds()) < 60
    assert storage.listdir("") == (["docs"], [])
    assert sorted(storage.listdir("docs")[1]) == sorted(["report.txt", other.removeprefix("docs/")])
    with storage.open("docs/written", "w") as file:
        file.write("by händ\n")
    assert storage.open("docs/written").read() == "by händ\n".encode()
    with storage.open("docs/written", "r") as file:
        assert (file.read(), file.size) == ("by händ\n", 9)
    with storage.open("docs/written", "wb") as file:
        file.write(b"by hand")
    assert storage.open("docs/written").read() == b"by hand"
    for gone in (name, other, "docs/written"):
        storage.delete(gone)
        storage.delete(gone)
    assert not storage.exists(name)
    with pytest.raises(FileNotFoundError):
        storage.open(name)
    with pytest.raises(FileNotFoundError):
        storage.size(name)


def test_a_url_needs_no_token_and_ends(storage: Any, service: Service) -> None:
    name = storage.save("page.txt", ContentFile(b"for everybody who has the URL"))
    url = storage.url(name)
    assert "/api/v1/objects/media/site/page.txt?" in url
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=20) as answer:
        assert answer.read() == b"for everybody who has the URL"
    from holdfast.library.django import HoldfastStorage

    public = HoldfastStorage(public_base="https://files.example.com/api/v1/objects/media/")
    assert public.url("a b.txt") == "https://files.example.com/api/v1/objects/media/a%20b.txt"


def test_names_cannot_leave_the_location(storage: Any) -> None:
    for name in ("../escaped", "a/../../escaped", "..", "a\\..\\..\\b"):
        with pytest.raises(SuspiciousFileOperation):
            storage.key(name)
    assert storage.key("/absolute") == "site/absolute"
    assert storage.key("./a//b") == "site/a/b"


def test_overwriting_and_losing_a_name(
    storage: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.library.django import HoldfastStorage

    how = {"target": f"http://127.0.0.1:{service.port}", "token": "any"}
    over = HoldfastStorage("media", location="over", overwrite=True, **how)
    assert [over.save("same", ContentFile(data)) for data in (b"1", b"22")] == ["same", "same"]
    assert over.size("same") == 2
    plain = HoldfastStorage("fresh-bucket", **how)
    taken = plain.save("name", ContentFile(b"first"))
    seen = plain._save(taken, ContentFile(b"second"))  # as if the name had been free when it was looked up
    assert seen != taken
    assert (plain.open(taken).read(), plain.open(seen).read()) == (b"first", b"second")


def test_a_field_of_a_model_lives_in_it(storage: Any, tmp_path: Path) -> None:
    from django.db import connection, models

    class Report(models.Model):
        paper = models.FileField(upload_to="papers")

        class Meta:
            app_label = "reports"

    with connection.schema_editor() as editor:
        editor.create_model(Report)
    made = Report.objects.create(paper=ContentFile(b"content", name="one.txt"))
    found = Report.objects.get(pk=made.pk)
    assert found.paper.name == "papers/one.txt"
    assert found.paper.read() == b"content"
    assert found.paper.size == 7
    found.paper.delete(save=False)
    assert not storage.exists("papers/one.txt")
