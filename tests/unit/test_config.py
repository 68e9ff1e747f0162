"""Settings: sources, units, and errors that name the setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.backends import registry
from holdfast.config import load
from holdfast.config.units import parse_size, parse_time
from holdfast.core.backend import StoreState
from holdfast.core.errors import ConfigError

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("100", 100),
        ("64KB", 65536),
        ("64 KiB", 65536),
        ("1.5MB", 1572864),
        ("5g", 5 << 30),
        ("2TiB", 2 << 40),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("5", 5), ("250ms", 0.25), ("15m", 900), ("24h", 86400), ("7d", 604800)]
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "10XB", "ten", "1e3", "1 2"])
def test_what_is_neither(text: str) -> None:
    for parse in (parse_size, parse_time):
        with pytest.raises(ValueError, match="write for example"):
            parse(text)


@pytest.mark.parametrize("value", ["99999999999d", "9" * 400, 4e9, float("inf"), float("nan")])
def test_times_end_somewhere(value: str | float) -> None:
    assert parse_time("36500d") == 36_500 * 86400
    with pytest.raises(ValueError, match="longer than 100 years"):
        parse_time(value)


def test_flags_win_over_variables_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "holdfast.toml").write_text(
        'port = 1\nhost = "127.0.0.2"\ntenant = "filed"\n[limits]\nmax_object_size = "1GB"\n'
        '[stores.a]\ndriver = "local"\npath = "x"\nstate = "read-only"\nlabels = ["external"]\n'
    )
    monkeypatch.setenv("HOLDFAST_PORT", "2")
    monkeypatch.setenv("HOLDFAST_HOST", "127.0.0.3")
    settings = load(port=3)
    assert (settings.port, settings.host, settings.tenant) == (3, "127.0.0.3", "filed")
    assert settings.limits.max_object_size == 1 << 30
    assert settings.all_stores["a"].state is StoreState.READ_ONLY
    assert settings.all_stores["a"].driver_settings == {"path": "x"}
    assert settings.placement_stores == ("a",)


def test_without_anything_there_is_a_local_store(tmp_path: Path) -> None:
    settings = load(data=tmp_path / "d")
    assert settings.catalog_url == f"sqlite:///{tmp_path / 'd' / 'catalog.db'}"
    assert settings.all_stores["local"].driver_settings == {
        "path": str(tmp_path / "d" / "objects"),
        "create": True,
    }


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prot = 1", "prot"),
        ('port = "x"', "port"),
        ("port = 70000", "port"),
        ("[limits]\nheader_timeout = -1", "limits.header_timeout"),
        ('[limits]\nmax_object_size = "huge"', "limits.max_object_size"),
        ("[stores.a]\npath = 1", "stores.a.driver"),
        ('[stores.a]\ndriver = "local"\nlayout = "flat"', "stores.a.layout"),
        ("port = = 1", "TOML"),
    ],
)
def test_errors_name_the_setting(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named.replace(".", r"\.")):
        load(path)


def test_what_a_driver_says_of_its_settings_is_said_plainly() -> None:
    with pytest.raises(ConfigError, match=r"^(?!.*Value error).*endpoint"):
        registry.parse("s3", {"bucket": "bbb", "endpoint": "ftp://x", "access_key": "a", "secret_key": "b"})


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load(tmp_path / "missing.toml")


def test_a_secret_is_not_shown_in_an_error(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('port = "hunter2-canary"')
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert "hunter2" not in str(caught.value)


def test_keys_for_the_secrets_of_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"k2:{'22' * 32}\nk1:{'11' * 32}\n")
    keys.chmod(0o600)
    monkeypatch.setenv("HOLDFAST_SEAL_KEYS_FILE", str(keys))
    found = load(None)
    assert found.seal_keys.get_secret_value().split() == [f"k2:{'22' * 32}", f"k1:{'11' * 32}"]
    assert "22" * 8 not in repr(found)
    monkeypatch.setenv("HOLDFAST_SEAL_KEYS", f"k1:{'11' * 32}")
    with pytest.raises(ConfigError, match="both set") as caught:
        load(None)
    assert "11" * 8 not in str(caught.value)


def test_labels_region_and_price_of_a_store(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.toml"
    text = '[stores.a]\ndriver = "local"\npath = "x"\nlabels = ["cold", "internal", "oslo"]\nregion = "no"\nprice = "p"\n'
    file.write_text(text)
    found = load(file).stores["a"]
    assert (found.labels, found.region, found.price) == ({"cold", "internal", "oslo"}, "no", "p")
    assert found.driver_settings == {"path": "x", "region": "no"}
    file.write_text(text.replace('"oslo"', '"archive"'))
    with pytest.raises(ConfigError, match=r"stores\.a\.labels in .*: a store is cold or archive, not both"):
        load(file)
