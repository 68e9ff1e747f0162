"""What a bucket may ask of its objects: settings checked and brought into their usual form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from holdfast.core.errors import InvalidRequestError
from holdfast.core.sizes import parse_size
from holdfast.core.types import BucketSettings, IpRules, Quota, Visibility
from holdfast.policy.addresses import check_rules
from holdfast.policy.lifecycle_form import lock_members, lock_of, rule_members, rules_of
from holdfast.policy.media import is_pattern
from holdfast.policy.placement import MAX_INLINE

MOST: Final = 1 << 62  #: bytes or objects: more than anyone has, and still a number that databases add up
MAX_TYPES: Final = 100
MAX_DAYS: Final = 36_500
ENCRYPTION: Final = ("none", "store")


def check_settings(settings: BucketSettings) -> BucketSettings:
    """Return `settings` in their usual form.

    Raises:
        InvalidRequestError: naming what is wrong.
    """
    check_quota(settings.quota)
    _number("max_object_size", settings.max_object_size, 0, MOST)
    _number("retention_days", settings.retention_days, 1, MAX_DAYS)
    check_inline(settings.inline)
    if settings.encryption not in ENCRYPTION:
        raise InvalidRequestError(f"encryption is {' or '.join(ENCRYPTION)}, not {settings.encryption!r:.80}")
    return replace(
        settings,
        allowed_types=_types(settings.allowed_types),
        ip=check_rules(settings.ip),
        lifecycle=rules_of(settings.lifecycle),
    )


def check_quota(quota: Quota) -> Quota:
    """Return `quota` if its limits can be limits, else raise `InvalidRequestError`."""
    _number("max_bytes", quota.max_bytes, 0, MOST)
    _number("max_objects", quota.max_objects, 0, MOST)
    return quota


def check_inline(inline: int | None) -> int | None:
    """Return the threshold if contents below it can live in the catalog, else raise `InvalidRequestError`."""
    _number("inline", inline, 0, MAX_INLINE)
    return inline


def _types(patterns: tuple[str, ...]) -> tuple[str, ...]:
    if len(patterns) > MAX_TYPES:
        raise InvalidRequestError(f"{len(patterns)} allowed types; at most {MAX_TYPES} are taken")
    found = tuple(dict.fromkeys(pattern.strip().lower() for pattern in patterns))
    for pattern in found:
        if not is_pattern(pattern):
            raise InvalidRequestError(
                f"{pattern!r:.80} is no type of content; write for example image/png, image/* or .csv"
            )
    return found


def _number(name: str, value: int | None, least: int, most: int) -> None:
    if value is not None and not least <= value <= most:
        raise InvalidRequestError(f"{name} is a whole number from {least} to {most}, or null; not {value}")


def changed(settings: BucketSettings, changes: Mapping[str, object]) -> BucketSettings:
    """Return `settings` with the members of `changes` in place of theirs; None takes a limit away.

    Members are those of `settings_members`, and sizes may be text such as `100MB`.

    Raises:
        InvalidRequestError: a member is unknown, or not of its kind.
    """
    known = settings_members(settings)
    if unknown := sorted(changes.keys() - known):
        raise InvalidRequestError(
            f"{unknown[0]!r:.80} is no setting of a bucket; there are {', '.join(known)}"
        )
    wanted = known | dict(changes)
    return check_settings(
        BucketSettings(
            visibility=_visibility(wanted["visibility"]),
            allowed_types=_texts("allowed_types", wanted["allowed_types"]),
            max_object_size=_size("max_object_size", wanted["max_object_size"]),
            quota=Quota(
                _size("max_bytes", wanted["max_bytes"]), _whole("max_objects", wanted["max_objects"])
            ),
            retention_days=_whole("retention_days", wanted["retention_days"]),
            encryption=str(wanted["encryption"]),
            ip=IpRules(_texts("ip_allow", wanted["ip_allow"]), _texts("ip_deny", wanted["ip_deny"])),
            inline=_size("inline", wanted["inline"]),
            lifecycle=rules_of(wanted["lifecycle"]),
            default_lock=lock_of(wanted["default_lock"]),
        )
    )


def settings_members(settings: BucketSettings) -> dict[str, object]:
    """Return settings as a flat mapping, as they travel."""
    return {
        "visibility": settings.visibility.value,
        "allowed_types": list(settings.allowed_types),
        "max_object_size": settings.max_object_size,
        "max_bytes": settings.quota.max_bytes,
        "max_objects": settings.quota.max_objects,
        "retention_days": settings.retention_days,
        "encryption": settings.encryption,
        "ip_allow": list(settings.ip.allow),
        "ip_deny": list(settings.ip.deny),
        "inline": settings.inline,
        "lifecycle": [rule_members(rule) for rule in settings.lifecycle],
        "default_lock": lock_members(settings.default_lock),
    }


def _visibility(value: object) -> Visibility:
    try:
        return Visibility(str(value))
    except ValueError:
        kinds = " or ".join(kind.value for kind in Visibility)
        raise InvalidRequestError(f"visibility is {kinds}, not {value!r:.80}") from None


def _texts(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise InvalidRequestError(f"{name} is a list of texts")
    return tuple(value)


def _whole(name: str, value: object) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise InvalidRequestError(f"{name} is a whole number or null")
    return value


def _size(name: str, value: object) -> int | None:
    if not isinstance(value, str):
        return _whole(name, value)
    try:
        return parse_size(value)
    except ValueError as error:
        raise InvalidRequestError(f"{name}: {error}") from None
