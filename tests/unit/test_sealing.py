"""The secrets of stores: opened with the right key, name and bytes, and with nothing else."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError
from holdfast.engine.sealing import Sealer, fields_of, key_id_of, parse_keys, sealer_of
from holdfast.engine.secrets import RootSecret

pytestmark = pytest.mark.unit
SECRETS = {"secret_key": "planted-1f3a", "token": "planted-9c2e"}
ONE, TWO = ("one", b"1" * 32), ("two", b"2" * 32)


def sealer(*keys: tuple[str, bytes], seed: int = 3) -> Sealer:
    return Sealer(keys or (ONE,), Environment.seeded(seed))


def part(name: bytes) -> bytes:
    return len(name).to_bytes(4, "big") + name


def test_a_record_is_made_as_it_is_described() -> None:
    """Taken apart by hand, with nothing of ours but the description."""
    record = sealer().seal("far", SECRETS)
    fields = b'["secret_key","token"]'
    assert record[:6] == b"HFS1" + len(fields).to_bytes(2, "big")
    assert record[6 : 6 + len(fields)] == fields
    rest = record[6 + len(fields) :]
    assert rest[:4] == b"\x03one"
    nonce, wrapped, rest = rest[4:16], rest[16:64], rest[64:]
    aad = b"HFS1" + part(b"key") + part(b"one") + part(b"far") + part(fields)
    data_key = AESGCM(b"1" * 32).decrypt(nonce, wrapped, aad)
    aad = b"HFS1" + part(b"content") + part(b"far") + part(fields)
    plain = AESGCM(data_key).decrypt(rest[:12], rest[12:], aad)
    assert plain == b'{"secret_key": "planted-1f3a", "token": "planted-9c2e"}'


def test_each_byte_counts() -> None:
    keys = sealer(ONE, TWO)
    record = keys.seal("far", SECRETS)
    assert keys.open("far", record) == SECRETS
    assert (key_id_of("far", record), fields_of("far", record)) == ("one", ("secret_key", "token"))
    for place in range(len(record)):
        for flip in (1, 0x80):
            altered = record[:place] + bytes((record[place] ^ flip,)) + record[place + 1 :]
            with pytest.raises(ConfigError) as caught:
                keys.open("far", altered)
            assert "planted" not in str(caught.value)
    for size in range(1, len(record)):
        with pytest.raises(ConfigError):
            keys.open("far", record[:size])
    with pytest.raises(ConfigError):
        keys.open("far", record + b"\0")


def test_a_record_belongs_to_its_store_and_to_its_fields() -> None:
    record = sealer().seal("far", SECRETS)
    with pytest.raises(ConfigError, match="store near cannot be opened"):
        sealer().open("near", record)
    fewer = b'["secret_key"]'
    with pytest.raises(ConfigError):
        sealer().open("far", b"HFS1" + len(fewer).to_bytes(2, "big") + fewer + record[28:])


def test_no_secrets_need_no_key() -> None:
    assert sealer().seal("far", {}) == b""
    assert sealer().open("far", b"") == {}
    assert sealer().rewrap("far", b"") == b""
    assert (key_id_of("far", b""), fields_of("far", b"")) == ("", ())


def test_two_seals_of_the_same_differ() -> None:
    keys = sealer()
    assert keys.seal("far", SECRETS) != keys.seal("far", SECRETS)


def test_keys_are_rotated_by_wrapping_the_data_key_again() -> None:
    record = sealer(ONE).seal("far", SECRETS)
    with pytest.raises(ConfigError, match="'one', which is not among seal_keys"):
        sealer(TWO).open("far", record)
    both = sealer(TWO, ONE)
    rewrapped = both.rewrap("far", record)
    assert rewrapped[-40:] == record[-40:]  # the content is not sealed anew
    assert sealer(TWO).open("far", rewrapped) == SECRETS
    assert both.rewrap("far", rewrapped) == rewrapped
    with pytest.raises(ConfigError, match="'two'"):
        sealer(ONE).open("far", rewrapped)
    with pytest.raises(ConfigError):
        sealer(("one", b"x" * 32)).open("far", record)  # another key under the same id
    with pytest.raises(ConfigError):
        sealer(TWO, ONE).rewrap("far", record[:-1] + b"\0")  # what is broken is not made to look sound
    for broken in (rewrapped[:-1] + bytes((rewrapped[-1] ^ 1,)), rewrapped[:-50]):
        with pytest.raises(ConfigError):
            both.rewrap("far", broken)
    with pytest.raises(ConfigError, match="the same id is another one"):
        sealer(("two", b"x" * 32)).rewrap("far", rewrapped)


def test_the_names_of_secrets_outlive_a_lost_end() -> None:
    record = sealer().seal("far", SECRETS)
    assert fields_of("far", record[:40]) == ("secret_key", "token")
    for lost in (record[:3], record[:20], b"XXXX" + record[4:], b"HFS1\0\x011"):
        with pytest.raises(ConfigError):
            fields_of("far", lost)


def test_the_key_of_the_service_opens_always_and_seals_when_there_is_no_other() -> None:
    root, world = RootSecret(b"s" * 32), Environment.seeded(1)
    own = sealer_of("", root, world)
    assert own.key_id == "root"
    record = own.seal("far", SECRETS)
    named = sealer_of(f"k1:{'ab' * 32}", root, world)
    assert named.key_id == "k1"
    assert named.open("far", record) == SECRETS
    with pytest.raises(ConfigError):
        sealer_of("", RootSecret(b"t" * 32), world).open("far", record)


def test_keys_are_named_and_never_shown() -> None:
    text = f"k1:{'ab' * 32},k2:{'CD' * 32}\n k3:{'0' * 64} "
    assert [name for name, _ in parse_keys(text)] == ["k1", "k2", "k3"]
    assert parse_keys("  ") == []
    assert "ab" * 8 not in repr(Sealer(parse_keys(text), Environment.seeded(1)))
    key = "ab" * 32
    for wrong in (
        key,
        f"k1:{key[:-1]}",
        f"k 1:{key}",
        f":{key}",
        f"k1:{key},k1:{key}",
        f"root:{key}",
        "k1:" + "z" * 64,
    ):
        with pytest.raises(ConfigError) as caught:
            parse_keys(wrong)
        assert key[:16] not in str(caught.value)
        assert "z" * 16 not in str(caught.value)
