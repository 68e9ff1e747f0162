"""Operators see that writers are refused; an outage takes no store out of service for good; no key is missed silently."""

from __future__ import annotations

import pytest

from holdfast.core.backend import StoreState
from holdfast.engine.refusing import rule_troubles
from holdfast.policy.placement import Match, Placement, Rule, WhenDown
from tests.engine.boxes import place
from tests.engine.test_connections import KEY_1, KEY_2, SETTINGS, serving
from tests.helpers import run

pytestmark = pytest.mark.engine


def test_a_test_during_an_outage_leaves_a_store_in_service_but_a_refusal_does_not(sqlite_url: str) -> None:
    async def story() -> None:
        async with place(sqlite_url) as at:
            await serving(at)
            at.boxes.broken.add("red")
            known, trial = await at.desk().test("far")
            assert (trial.well, trial.unanswered, trial.trouble) == (False, True, "no answer")
            assert (known.refusal, known.connection.trouble) == ("", "no answer")
            assert known.connection.serves
            changed = await at.desk().update("far", settings={"note": "other"})
            assert not changed.connection.serves
            assert not (await at.desk().test("far"))[0].connection.serves
            at.boxes.broken.clear()
            assert (await at.desk().test("far"))[0].connection.serves
            at.boxes.shut.add("red")
            known, trial = await at.desk().test("far")
            assert (trial.unanswered, known.refusal) == (False, "failed its last test")
            at.boxes.password = "another-password"
            at.boxes.shut.clear()
            assert not (await at.desk().test("far"))[0].connection.serves

    run(story())


def test_each_rule_that_cannot_be_followed_is_named(sqlite_url: str) -> None:
    async def story() -> None:
        async with place(sqlite_url) as at:
            await serving(at)
            context = at.engines[0].context
            film = Match(buckets=("films",))
            placement = Placement(
                Rule("default", ("home",)),
                (
                    Rule("far", ("far",), film),
                    Rule("also", ("far",), film),
                    Rule("either", ("far", "home"), film),
                    Rule("both", ("far", "home"), film, acknowledge=2),
                    Rule("safe", ("far",), film, when_down=WhenDown.FALLBACK, fallback=("home",)),
                ),
            )
            assert rule_troubles(context, placement) == []
            refused = ["rules far, also, both: store far {}: writers are refused"]
            refused += ["rule safe: store far {}: writers go to the fallback home"]
            silent = rule_troubles(context, placement, {"far": "does not answer"})
            assert silent == [line.format("does not answer") for line in refused]
            await at.desk().deactivate("far")
            assert rule_troubles(context, placement) == [line.format("is not activated") for line in refused]
            at.engines[0].stores["home"].state = StoreState.DOWN
            assert (
                rule_troubles(context, placement)[-1]
                == "rule default: store home is down: writers are refused"
            )

    run(story())


def test_a_missing_key_is_named_with_its_store(sqlite_url: str) -> None:
    async def story() -> None:
        async with place(sqlite_url, seal_keys=KEY_1) as at:
            await at.desk().create("far", "box", SETTINGS)
            assert at.engines[0].stores.sealed_away() == {}
        async with place(sqlite_url, seal_keys=KEY_2) as at:
            (trouble,) = at.engines[0].stores.sealed_away().values()
            assert "store far" in trouble
            assert "'k1'" in trouble

    run(story())
