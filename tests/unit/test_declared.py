"""What a file may want of the catalog, and how it is told what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import load
from holdfast.config.declared import declared_of, read_declared
from holdfast.core.errors import ConfigError
from holdfast.engine.wanting import wanted_of
from holdfast.policy.differences import Kind

pytestmark = pytest.mark.unit

EXAMPLE = """
port = 8123

[apply.tenants.acme]
max_bytes = "100GB"
requests = 50

[apply.buckets.photos]
tenant = "acme"
retention_days = "none"
allowed_types = ["image/*"]

[apply.buckets.plain]
versioning = true

[apply.stores.cold]
driver = "s3"
bucket = "archive"
access_key = "${COLD_KEY}"
secret_key_file = "{secret}"
labels = ["cold"]

[[apply.rules]]
name = "archives"
match.keys = ["*.zip"]
match.min_size = "1MB"
stores = ["cold"]
"""


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    secret = tmp_path / "secret"
    secret.write_text("from-a-file\n")
    secret.chmod(0o600)
    monkeypatch.setenv("COLD_KEY", "from-a-variable")
    path = tmp_path / "site.toml"
    path.write_text(EXAMPLE.replace("{secret}", str(secret)))
    return path


def test_everything_that_a_file_can_describe(example: Path) -> None:
    wanted = wanted_of(read_declared(example), "default")
    assert wanted.said == frozenset(Kind)
    assert wanted.things[Kind.TENANT, "acme"] == {"max_bytes": 100 << 30, "requests": 50}
    assert wanted.things[Kind.BUCKET, "acme/photos"] == {"retention_days": None, "allowed_types": ["image/*"]}
    assert wanted.things[Kind.BUCKET, "default/plain"] == {"versioning": True}
    store = wanted.things[Kind.STORE, "cold"]
    assert store["settings"] == {
        "bucket": "archive",
        "access_key": "from-a-variable",
        "secret_key": "from-a-file",
    }
    assert (store["active"], store["labels"]) == (True, ["cold"])
    assert wanted.things[Kind.RULE, "archives"]["match"]["min_size"] == 1 << 20


def test_a_process_does_not_read_it(example: Path) -> None:
    settings = load(example)
    assert settings.port == 8123
    assert tuple(settings.all_stores) == ("local",)


def test_what_is_not_said_is_not_spoken_of(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text("[apply.buckets]\n")
    assert wanted_of(read_declared(path), "default").said == {Kind.BUCKET}
    path.write_text("port = 1\n")
    with pytest.raises(ConfigError, match=r"has no \[apply"):
        read_declared(path)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            'buckets.b-b.max_byte = "1GB"',
            "unknown setting apply.buckets.b-b.max_byte; did you mean max_bytes?",
        ),
        ("bukets = {}", "unknown setting apply.bukets; did you mean buckets?"),
        ("buckets.B = { versioning = true }", "not a bucket name"),
        ('tenants."a b" = {}', "not a tenant name"),
        ('buckets.b-b.max_bytes = "many"', "apply.buckets.b-b.max_bytes: 'many' is not a size"),
        ("buckets.b-b.retention_days = 0", "apply.buckets.b-b.retention_days"),
        ('stores.s = { bucket = "x" }', "apply.stores.s.driver"),
        ('rules = [{ name = "r", stores = ["s"], macth = {} }]', "'macth' is unknown"),
        ('rules = [{ name = "r", stores = ["s"] }, { name = "r", stores = ["s"] }]', "two rules called 'r'"),
        ('buckets.one = { name = "same" }\nbuckets.same = {}', "the bucket default/same is described twice"),
        (
            'stores.s = { driver = "s3", secret_key = "${NOWHERE}" }',
            "names the variable NOWHERE, which is not set",
        ),
        ('stores.s = { driver = "s3", secret_key_file = "/nowhere/s" }', "cannot read /nowhere/s"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, told: str
) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    path = tmp_path / "site.toml"
    path.write_text("[apply]\n" + table)
    with pytest.raises(ConfigError) as error:
        wanted_of(read_declared(path), "default")
    assert told in str(error.value)


def test_a_table_from_outside_reads_no_files_and_no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME_SECRET", "of-the-server")
    table = {
        "stores": {"s": {"driver": "s3", "secret_key": "${HOME_SECRET}", "access_key_file": "/etc/passwd"}}
    }
    store = wanted_of(declared_of(table), "default").things[Kind.STORE, "s"]
    assert store["settings"] == {"secret_key": "${HOME_SECRET}", "access_key_file": "/etc/passwd"}


def test_no_error_repeats_a_secret() -> None:
    with pytest.raises(ConfigError) as error:
        declared_of({"stores": {"s": {"driver": "s3", "secret_key": "swordfish", "attempts": "swordfish"}}})
    assert "swordfish" not in str(error.value)
    assert "apply.stores.s.attempts" in str(error.value)
