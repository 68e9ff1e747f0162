"""The catalog brought to what a file wants of it: once, exactly as planned, audited, and no further than it can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from holdfast.config.declared import declared_of
from holdfast.core.backend import StoreState
from holdfast.core.body import Body
from holdfast.core.errors import ConfigError, ConflictError, InvalidRequestError
from holdfast.core.types import IpRules, Principal, Quota, Rate, TenantState
from holdfast.engine.administration import Administration
from holdfast.engine.applying import ConfigPlan, told
from holdfast.engine.wanting import wanted_of
from holdfast.policy.differences import Kind, Wanted, shown
from tests.engine.boxes import PASSWORD, Place, place
from tests.helpers import run

pytestmark = pytest.mark.engine

STORE = {"driver": "box", "box": "red", "password": PASSWORD, "labels": ["cold"]}
RULE = {"name": "archives", "stores": ["far"], "match": {"keys": ["*.zip"]}}
WHOLE: Mapping[str, Any] = {
    "tenants": {"acme": {"max_bytes": "1GB", "requests": 5, "ip_allow": ["10.0.0.0/8"], "inline": "1KB"}},
    "buckets": {
        "photos": {"tenant": "acme", "retention_days": 90, "allowed_types": ["image/*"]},
        "kept": {"versioning": True, "max_bytes": "1MB"},
    },
    "stores": {"far": STORE},
    "rules": [RULE],
}


def wanted(**table: Any) -> Wanted:
    return wanted_of(declared_of(table), "default")


def admin(at: Place, role: str = "operator", number: int = 0) -> Administration:
    return at.engines[number].session(Principal("boss", "default", role)).admin


def words(plan: ConfigPlan) -> list[str]:
    return [told(change) for change in plan.changes]


def test_everything_is_made_once(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url) as at:
            desk = admin(at)
            before = await desk.plan_config(wanted(**WHOLE))
            assert words(before) == [
                "create store far",
                "create rule archives",
                "create tenant acme",
                "create bucket acme/photos",
                "create bucket default/kept",
            ]
            assert [tenant.name for tenant in await desk.tenants()] == ["default"]  # only told
            assert await desk.apply_config(wanted(**WHOLE), expect=before.id) == before
            assert (await desk.plan_config(wanted(**WHOLE))).changes == ()
            assert (await desk.apply_config(wanted(**WHOLE))).changes == ()
            tenant, use = await desk.tenant("acme")
            assert use.quota == Quota(1 << 30, None)
            assert (tenant.settings.ip, tenant.settings.rate) == (IpRules(("10.0.0.0/8",)), Rate(5.0))
            assert tenant.settings.inline == 1024
            photos = await at.engines[0].catalog.bucket("acme", "photos")
            assert (photos.settings.retention_days, photos.settings.allowed_types) == (90, ("image/*",))
            kept = await at.engines[0].catalog.bucket("default", "kept")
            assert (kept.versioning, kept.settings.quota.max_bytes) == (True, 1 << 20)
            far = (await desk.connections.store("far")).connection
            assert (far.serves, far.labels) == (True, ("cold",))
            await at.session().put("plain", "a.zip", Body.of_bytes(b"a"))
            assert [blob async for blob in at.boxes.inside["red"].list()] != []

    run(story())


def test_each_change_is_audited_by_who_asked(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url) as at:
            await admin(at).apply_config(wanted(**WHOLE))
            found = {}
            for tenant in ("", "default", "acme"):
                for entry in await at.engines[0].catalog.audit(tenant, limit=100):
                    if entry.principal == "boss":
                        found.setdefault(entry.action, entry)
            assert {"create-tenant", "create-bucket", "create-store", "test-store", "activate-store"} <= set(
                found
            )
            assert any("rule" in action for action in found)
            assert PASSWORD not in str(found)

    run(story())


def test_what_is_not_named_stays_and_what_is_named_changes(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url) as at:
            desk = admin(at)
            await desk.apply_config(wanted(**WHOLE))
            await desk.update_tenant("acme", state=TenantState.SUSPENDED)
            changed = wanted(
                tenants={"acme": {"max_objects": 7}},
                buckets={"kept": {"max_bytes": "none"}},
                stores={"far": {"driver": "box", "state": "read-only", "note": "n"}},
            )
            plan = await desk.plan_config(changed)
            edits = {
                (told(change), edit.member): (shown(edit.old), shown(edit.new))
                for change in plan.changes
                for edit in change.edits
            }
            assert edits == {
                ("change store far", "state"): ("active", "read-only"),
                ("change store far", "settings.note"): (None, "n"),
                ("change tenant acme", "max_objects"): (None, 7),
                ("change bucket default/kept", "max_bytes"): (1 << 20, None),
            }
            await desk.apply_config(changed, expect=plan.id)
            tenant, use = await desk.tenant("acme")
            assert (use.quota, tenant.state) == (Quota(1 << 30, 7), TenantState.SUSPENDED)
            far = (await desk.connections.store("far")).connection
            assert (far.state, far.settings, far.labels) == (
                StoreState.READ_ONLY,
                {"box": "red", "note": "n"},
                ("cold",),
            )
            assert (await desk.plan_config(changed)).changes == ()
            assert (await at.engines[0].catalog.bucket("default", "kept")).versioning

    run(story())


def test_a_changed_secret_is_noticed_and_never_shown(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url) as at:
            desk = admin(at)
            await desk.apply_config(wanted(stores={"far": STORE}))
            assert (await desk.plan_config(wanted(stores={"far": STORE}))).changes == ()
            at.boxes.password = "another-password-2002"
            other = wanted(stores={"far": STORE | {"password": at.boxes.password}})
            plan = await desk.plan_config(other)
            [edit] = plan.changes[0].edits
            assert (edit.member, shown(edit.old), shown(edit.new)) == (
                "settings.password",
                "(secret)",
                "(secret)",
            )
            assert PASSWORD not in repr(plan)
            assert at.boxes.password not in repr(plan)
            await desk.apply_config(other, expect=plan.id)
            assert (await desk.connections.store("far")).connection.serves
            third = await desk.plan_config(wanted(stores={"far": STORE | {"password": "a-third-one"}}))
            assert third.id != plan.id

    run(story())


def test_secrets_that_cannot_be_opened_any_more_are_set_anew(sqlite_url: str) -> None:
    async def story() -> None:
        async with place(sqlite_url, seal_keys="k1:" + "11" * 32) as at:
            await admin(at).apply_config(wanted(stores={"far": STORE}))
        async with place(sqlite_url, seal_keys="k2:" + "22" * 32) as at:
            plan = await admin(at).apply_config(wanted(stores={"far": STORE}))
            assert [edit.member for edit in plan.changes[0].edits] == ["settings.password"]
            assert (await admin(at).plan_config(wanted(stores={"far": STORE}))).changes == ()

    run(story())


def test_a_store_whose_test_fails_is_left_inactive_and_apply_goes_on_later(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url) as at:
            desk = admin(at)
            at.boxes.broken.add("red")
            with pytest.raises(ConfigError) as error:
                await desk.apply_config(wanted(**WHOLE))
            assert (
                "create store far failed: the store was created, but not activated: its test failed: "
                in str(error.value)
            )
            assert "0 of 5 changes were made before it; apply again to go on" in str(error.value)
            assert not (await desk.connections.store("far")).connection.serves
            assert [tenant.name for tenant in await desk.tenants()] == ["default"]
            at.boxes.broken.clear()
            plan = await desk.plan_config(wanted(**WHOLE))
            assert words(plan)[0] == "change store far"
            assert [edit.member for edit in plan.changes[0].edits] == ["active"]
            await desk.apply_config(wanted(**WHOLE))
            assert (await desk.plan_config(wanted(**WHOLE))).changes == ()

    run(story())


def test_a_changed_store_whose_test_fails_is_told_as_it_is(sqlite_url: str) -> None:
    async def story() -> None:
        async with place(sqlite_url) as at:
            desk = admin(at)
            await desk.apply_config(wanted(stores={"far": STORE}))
            changed = wanted(stores={"far": STORE | {"box": "blue"}})
            at.boxes.broken.add("blue")
            with pytest.raises(
                ConfigError, match="the store was changed, but not activated: its test failed"
            ):
                await desk.apply_config(changed)
            assert not (await desk.connections.store("far")).connection.serves
            [change] = (await desk.plan_config(changed)).changes
            assert [(edit.member, edit.old, edit.new) for edit in change.edits] == [("active", False, True)]
            [back] = (await desk.plan_config(wanted(stores={"far": STORE}))).changes
            assert "settings.box" in [edit.member for edit in back.edits]

    run(story())


def test_the_name_of_a_removed_tenant_is_told_beforehand(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url) as at:
            desk = admin(at)
            await desk.create_tenant("gone")
            await desk.delete_tenant("gone", grace=0)
            assert await at.engines[0].catalog.remove_tenant("gone")
            plan = await desk.plan_config(wanted(tenants={"gone": {}, "other": {}}))
            assert [bool(change.trouble) for change in plan.changes] == [True, False]
            assert "a tenant of that name was removed" in plan.troubles[0]
            with pytest.raises(ConflictError, match="nothing was done"):
                await desk.apply_config(wanted(tenants={"gone": {}, "other": {}}))

    run(story())


def test_a_failure_in_the_middle_tells_what_was_done(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url) as at:
            desk = admin(at)
            table = wanted(buckets={"first": {}, "second": {"encryption": "store"}})
            with pytest.raises(Exception, match="create bucket default/second failed") as error:
                await desk.apply_config(table)
            assert "1 of 2 changes were made before it: create bucket default/first" in str(error.value)
            assert words(await desk.plan_config(table)) == ["create bucket default/second"]

    run(story())


def test_another_plan_than_the_agreed_one_is_not_carried_out(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url, engines=2) as at:
            desk = admin(at)
            table = wanted(buckets={"kept": {"retention_days": 9}, "more": {}})
            plan = await desk.plan_config(table)
            await admin(at, number=1).apply_config(wanted(buckets={"kept": {"retention_days": 8}}))
            with pytest.raises(ConflictError, match="has changed since this was planned"):
                await desk.apply_config(table, expect=plan.id)
            assert words(await desk.plan_config(table)) == [
                "change bucket default/kept",
                "create bucket default/more",
            ]

    run(story())


def _states(number: int) -> dict[str, dict[str, Any]]:
    """One thing of each kind, in a state of its own for each number."""
    return {
        "stores": {"stores": {"far": STORE | {"note": f"n{number}"}}},
        "rules": {"rules": [RULE | {"stores": ["home"], "inline": number}]},
        "tenants": {"tenants": {"acme": {"max_objects": number}}},
        "buckets": {"buckets": {"kept": {"retention_days": number}}},
    }


@pytest.mark.parametrize("kind", ["stores", "rules", "tenants", "buckets"])
def test_what_changes_between_two_steps_is_not_written_over(
    catalog_url: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async def story() -> None:
        async with place(catalog_url, engines=2) as at:
            desk, other = admin(at), admin(at, number=1)
            await desk.apply_config(wanted(**_states(1)[kind]))
            create = at.engines[0].catalog.create_store

            async def meanwhile(*given: Any, **more: Any) -> Any:
                at.clock.advance(1)
                await other.apply_config(wanted(**_states(2)[kind]))
                return await create(*given, **more)

            monkeypatch.setattr(at.engines[0].catalog, "create_store", meanwhile)
            table = _states(3)[kind]
            table = table | {"stores": {"a-new-one": STORE, **table.get("stores", {})}}
            with pytest.raises(ConflictError, match=r"change .* failed: .*1 of 2 changes were made"):
                await desk.apply_config(wanted(**table))
            assert (await other.plan_config(wanted(**_states(2)[kind]))).changes == ()

    run(story())


def test_rules_are_put_in_order_around_those_made_by_hand(catalog_url: str) -> None:
    def rules(*names: str) -> Wanted:
        return wanted(rules=[{"name": name, "stores": ["home"]} for name in names])

    async def kept(desk: Administration) -> list[str]:
        return [rule.name for rule in (await desk.rules()).kept]

    async def story() -> None:
        async with place(catalog_url) as at:
            desk = admin(at)
            await desk.apply_config(rules("by-hand", "a", "b"))
            plan = await desk.apply_config(rules("b", "new", "a"))
            assert words(plan) == ["change rule b", "create rule new", "change rule a"]
            assert [edit.member for edit in plan.changes[0].edits] == ["position"]
            assert await kept(desk) == ["by-hand", "b", "new", "a"]
            assert (await desk.plan_config(rules("b", "new", "a"))).changes == ()
            plan = await desk.apply_config(rules("a"), prune=True)
            assert words(plan) == ["remove rule b", "remove rule by-hand", "remove rule new"]
            assert await kept(desk) == ["a"]
            await desk.apply_config(rules(), prune=True)
            assert await kept(desk) == []

    run(story())


def test_only_prune_removes_and_only_what_is_empty_and_spoken_of(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url) as at:
            desk = admin(at)
            at.clock.advance(1)
            await desk.apply_config(wanted(**WHOLE))
            only = wanted(buckets={"kept": {}})
            assert (await desk.plan_config(only)).changes == ()
            assert words(await desk.plan_config(only, prune=True)) == ["remove bucket default/plain"]
            await at.session().put("plain", "k", Body.of_bytes(b"k"))
            plan = await desk.plan_config(only, prune=True)
            assert "it is not empty: it holds 1 versions" in plan.changes[0].trouble
            with pytest.raises(ConflictError, match="nothing was done"):
                await desk.apply_config(wanted(buckets={"kept": {}, "new": {}}), prune=True)
            assert len(await desk.tenant_buckets("default")) == 2

            nothing = wanted(tenants={}, stores={}, rules=[])
            plan = await desk.plan_config(nothing, prune=True)
            assert words(plan) == ["remove tenant acme", "remove rule archives", "remove store far"]
            assert plan.changes[0].trouble == "it has 1 buckets; remove them first"
            await at.engines[0].catalog.delete_bucket("acme", "photos")
            await desk.apply_config(nothing, prune=True)
            assert (await desk.tenant("acme"))[0].state is TenantState.DELETING
            assert [store.name for store in await desk.connections.all()] == ["home"]
            again = await desk.plan_config(wanted(tenants={"acme": {}}))
            assert again.changes[0].trouble == "it is about to be removed; restore it first"

    run(story())


def test_folders_of_a_tenant_are_made_in_its_buckets(catalog_url: str) -> None:
    async def story() -> None:
        async with place(catalog_url) as at:
            desk = admin(at)
            said = {"categories": ["wedding"], "subfolders": ["QR"]}
            bare = await desk.plan_config(wanted(tenants={"acme": said}))
            assert bare.troubles == [
                "create tenant acme: categories are folders in its buckets; describe these too"
            ]
            table = {"tenants": {"acme": said}, "buckets": {"photos": {"tenant": "acme"}}}
            await desk.apply_config(wanted(**table))
            session = at.engines[0].session(Principal("p", "acme", "admin"))
            assert await session.list_directories("photos", "wedding") == ["QR"]
            assert (await desk.plan_config(wanted(**table))).changes == ()
            table["buckets"]["videos"] = {"tenant": "acme"}
            table["tenants"]["acme"] = said | {"categories": ["portrait"]}
            await desk.apply_config(wanted(**table))
            assert await session.list_directories("videos") == ["portrait", "wedding"]
            assert (await desk.plan_config(wanted(**table))).changes == ()

    run(story())


@pytest.mark.parametrize(
    ("table", "told_"),
    [
        ({"stores": {"s": {"driver": "floppy"}}}, "there is no driver 'floppy'"),
        ({"stores": {"s": {"driver": "box", "colour": "swordfish"}}}, "apply.stores.s.colour is unknown"),
    ],
)
def test_what_makes_no_sense_is_refused(sqlite_url: str, table: dict[str, Any], told_: str) -> None:
    async def story() -> None:
        async with place(sqlite_url) as at:
            with pytest.raises(InvalidRequestError) as error:
                await admin(at).plan_config(wanted(**table))
            assert told_ in str(error.value)
            assert "swordfish" not in str(error.value)

    run(story())


@pytest.mark.parametrize(
    ("table", "trouble"),
    [
        ({"buckets": {"b-b": {"tenant": "nobody"}}}, "there is no tenant nobody; describe it too"),
        ({"stores": {"s": {"driver": "box", "box": "red"}}}, "missing ['password']"),
        ({"stores": {"s": STORE | {"labels": ["hot", "cold"]}}}, "cold"),
        ({"stores": {"catalog": STORE}}, "catalog"),
        ({"stores": {"home": STORE}}, "a store of that name is in the file of this process"),
        ({"rules": [RULE]}, "there is no store 'far'"),
        ({"tenants": {"default": {"subfolders": ["a"]}}}, "subfolders lie below categories"),
    ],
)
def test_what_cannot_be_done_is_told_beforehand(sqlite_url: str, table: dict[str, Any], trouble: str) -> None:
    async def story() -> None:
        async with place(sqlite_url) as at:
            plan = await admin(at).plan_config(wanted(**table))
            assert trouble in plan.troubles[0]
            with pytest.raises(ConflictError, match="nothing was done"):
                await admin(at).apply_config(
                    wanted(**table, **({} if "buckets" in table else {"buckets": {"b2b": {}}}))
                )
            assert len(await admin(at).tenant_buckets("default")) == 1

    run(story())


def test_kinds_have_sections() -> None:
    assert wanted(tenants={}, buckets={}, stores={}, rules=[]).said == frozenset(Kind)
