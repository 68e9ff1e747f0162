"""`holdfast placement`: where objects belong, why, and what other rules would do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.address import parse_object
from holdfast.cli.admin import administration, size
from holdfast.cli.batch import pairs
from holdfast.cli.command import Cli, beside_catalog, command
from holdfast.cli.output import human_size, visible
from holdfast.cli.placement_files import read_one, read_rules, read_wanted
from holdfast.core.errors import AlreadyExistsError, InvalidRequestError, NotFoundError
from holdfast.core.types import ObjectRef

if TYPE_CHECKING:
    from holdfast.cli.output import Output
    from holdfast.engine.explaining import Explained
    from holdfast.engine.ruling import RulesInForce
    from holdfast.engine.simulating import Count, Priced, Simulation
    from holdfast.policy.cost import Estimate
    from holdfast.policy.placement import Rule

File = Annotated[Path, typer.Argument(metavar="FILE", help="TOML or JSON")]
Generation = Annotated[
    int | None, typer.Option(help="only if the rules are in this generation, as `rules list` told it")
]


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Where objects belong: rules, explanations, simulations.",
    )
    app.add_typer(group, name="placement", rich_help_panel=panel)
    beside_catalog(group, "/api/v1/placement")
    _register_explain(group)
    _register_simulate(group)
    rules = typer.Typer(no_args_is_help=True, help="The placement rules of the catalog.")
    group.add_typer(rules, name="rules")
    beside_catalog(rules, "/api/v1/placement/rules")
    _register_rules(rules)


def _register_explain(group: typer.Typer) -> None:
    @command(group, "explain")
    async def explain(
        cli: Cli,
        target: Annotated[str, typer.Argument(metavar="BUCKET/KEY")],
        would: Annotated[
            bool, typer.Option("--would", help="of an object that need not be there, by the options below")
        ] = False,
        tenant: Annotated[
            str | None, typer.Option(help="its tenant (default: the one of the settings)")
        ] = None,
        version_id: Annotated[
            str | None, typer.Option(help="this version instead of the current one")
        ] = None,
        object_size: Annotated[
            str | None, typer.Option("--size", help="with --would: as 64KB; not given: unknown, and large")
        ] = None,
        content_type: Annotated[
            str | None, typer.Option(help="with --would; guessed from the key when missing")
        ] = None,
        storage_class: Annotated[str, typer.Option(help="with --would")] = "",
        tag: Annotated[list[str] | None, typer.Option(help="with --would: NAME=VALUE; repeatable")] = None,
    ) -> None:
        """Say where an object belongs and which rule says so; of one that is there also where it is."""
        from holdfast.policy import media
        from holdfast.policy.placement import Facts

        address = parse_object(target)
        home = tenant or cli.target.settings().tenant
        ref = ObjectRef(home, address.bucket, address.key)
        if not would and (object_size or content_type or storage_class or tag):
            raise InvalidRequestError(
                "size, type, class and tags are those of the object; use --would to suppose others"
            )
        async with administration(cli) as admin:
            if would:
                facts = Facts(
                    ref,
                    None if object_size is None else size(object_size),
                    content_type or media.guess(address.key) or media.UNKNOWN,
                    storage_class,
                    pairs(tag or (), "--tag"),
                )
                found = await admin.explain(facts)
            else:
                found = await admin.explain_object(ref, version_id=version_id)
        _show_explained(cli.out, found)


def _register_simulate(group: typer.Typer) -> None:
    @command(group, "simulate")
    async def simulate(
        cli: Cli,
        file: File,
        store: Annotated[
            list[str] | None,
            typer.Option(
                metavar="NAME=PRICE", help="a store that is not there yet, with its price key; repeatable"
            ),
        ] = None,
    ) -> None:
        """Show what other rules would do with all that is there: objects, bytes, calls and money. Changes nothing."""
        wanted = read_wanted(file, pairs(store or (), "--store"))
        async with administration(cli) as admin:
            made, priced = await admin.simulate(wanted)
        _show_simulated(cli.out, made, priced)


def _register_rules(group: typer.Typer) -> None:
    @command(group, "list")
    async def list_rules(cli: Cli) -> None:
        """List the rules in the order in which they are asked, and the default."""
        async with administration(cli) as admin:
            _show_rules(cli.out, await admin.rules())

    @command(group, "set")
    async def set_(cli: Cli, file: File, generation: Generation = None) -> None:
        """Replace all rules of the catalog by those of a file (`[[rules]]`), in their order."""
        wanted = read_rules(file)
        async with administration(cli) as admin:
            _show_rules(cli.out, await admin.change_rules(lambda _: wanted, expected=generation))

    @command(group, "add")
    async def add(
        cli: Cli,
        file: File,
        before: Annotated[
            str | None, typer.Option(metavar="RULE", help="put it before this rule; else it goes last")
        ] = None,
        replace: Annotated[
            bool, typer.Option("--replace", help="in the place of the rule of the same name")
        ] = False,
        generation: Generation = None,
    ) -> None:
        """Add one rule from a file, or replace the one of its name."""
        rule = read_one(file)
        async with administration(cli) as admin:
            made = await admin.change_rules(
                lambda held: _with(held, rule, before, replace), expected=generation
            )
        _show_rules(cli.out, made)

    @command(group, "remove")
    async def remove(
        cli: Cli,
        name: Annotated[str, typer.Argument(metavar="RULE")],
        generation: Generation = None,
    ) -> None:
        """Remove a rule. Objects stay where they are until they are moved."""
        async with administration(cli) as admin:
            made = await admin.change_rules(lambda held: _without(held, name), expected=generation)
        _show_rules(cli.out, made)


def _with(held: tuple[Rule, ...], rule: Rule, before: str | None, replace: bool) -> list[Rule]:
    names = [one.name for one in held]
    rules = list(held)
    if rule.name in names and not replace:
        raise AlreadyExistsError("there is a rule of that name; use --replace to change it", name=rule.name)
    if rule.name in names:
        place = names.index(rule.name)
        rules[place] = rule
        if before is None:
            return rules
        del rules[place]
    if before is None:
        return [*rules, rule]
    if before not in [one.name for one in rules]:
        raise NotFoundError("there is no such rule to put it before", name=before)
    place = next(index for index, one in enumerate(rules) if one.name == before)
    return [*rules[:place], rule, *rules[place:]]


def _without(held: tuple[Rule, ...], name: str) -> list[Rule]:
    if name not in [rule.name for rule in held]:
        raise NotFoundError("there is no such rule in the catalog", name=name)
    return [rule for rule in held if rule.name != name]


# -- how it is shown --------------------------------------------------------------------------------------------------
def _show_rules(out: Output, found: RulesInForce) -> None:
    from holdfast.policy.placement import Placement
    from holdfast.policy.rule_form import rule_members

    rows = []
    for rule in Placement(found.default, found.rules).ordered:
        members = rule_members(rule)
        about = " ".join(
            f"{name}={_words(value)}"
            for name, value in members["match"].items()
            if value not in (None, [], {})
        )
        inline = "" if rule.inline is None else human_size(rule.inline)
        cells = (
            rule.name,
            visible(about) or "(everything)",
            " ".join(rule.stores),
            str(rule.acknowledge),
            inline,
            " ".join(rule.fallback),
        )
        rows.append((members, cells))
    out.table(("RULE", "ABOUT", "STORES", ">COPIES FIRST", ">INLINE BELOW", "FALLBACK"), rows)
    whose = "of this process's file" if found.of_file else f"of the catalog, generation {found.generation}"
    out.note(
        f"rules {whose}; contents below {human_size(found.inline)} live in the catalog where nothing else is said"
    )
    if found.of_file and found.kept:
        out.note(f"{len(found.kept)} rules of the catalog have no effect here")


def _words(value: object) -> str:
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    if isinstance(value, dict):
        return ",".join(f"{name}:{text}" for name, text in value.items())
    return str(value)


def _show_explained(out: Output, found: Explained) -> None:
    import msgspec

    from holdfast.api.placing import explain_answer

    plan = found.explanation.plan
    lines = [
        f"belongs to: {' '.join(plan.stores)}",
        f"because:    rule {plan.rule}" + (" of this process's file" if found.of_file else ""),
        f"copies:     {plan.acknowledge} of {len(plan.stores)} before the writer is answered",
        f"inline:     {found.explanation.why_inline}",
    ]
    if found.explanation.why_elsewhere:
        lines.append(f"changed by: {found.explanation.why_elsewhere}")
    if plan.fallback:
        lines.append(f"fallback:   {' '.join(plan.fallback)}")
    if found.version is not None:
        where = [f"{copy.store}{'' if copy.whole else ' (not whole)'}" for copy in found.copies]
        told = "there it is" if found.home else "that is not where it belongs"
        lines.append(f"is in:      {' '.join(where) or 'no store'}; {told}")
    lines += [
        f"  {verdict.rule}: {'matches' if verdict.matched else visible(verdict.reason)}"
        for verdict in found.explanation.asked
    ]
    out.record(msgspec.to_builtins(explain_answer(found)), "\n".join(lines))


def _show_simulated(out: Output, made: Simulation, priced: Priced) -> None:
    import msgspec

    from holdfast.api.placing import simulate_answer

    if out.as_json:
        out.record(msgspec.to_builtins(simulate_answer(made, priced)), "")
        return
    rows: list[tuple[dict[str, Any], tuple[str, ...]]] = []
    for (held, wanted), count in sorted(made.moves.items(), key=lambda move: (-move[1].bytes, move[0])):
        cells = (" ".join(held) or "(none)", " ".join(wanted), f"{count.objects:,}", human_size(count.bytes))
        rows.append(({}, cells))
    if rows:
        out.table(("FROM", "TO", ">OBJECTS", ">BYTES"), rows)
    stores: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        (
            {},
            (
                name,
                _held(load.before),
                _held(load.after),
                f"{load.writes:,}",
                f"{load.reads:,}",
                f"{load.deletes:,}",
                load.price or "unknown",
            ),
        )
        for name, load in sorted(made.stores.items())
    ]
    out.table(("STORE", ">NOW", ">THEN", ">WRITES", ">READS", ">DELETES", "PRICE KEY"), stores)
    out.note(
        f"{made.moving.objects:,} of {made.every.objects:,} objects would move,"
        f" {human_size(made.moving.bytes)} of {human_size(made.every.bytes)}"
    )
    if made.lost.objects:
        out.note(f"{made.lost.objects:,} objects have no copy that can be read; they cannot be moved")
    out.note(f"once: {_dollars(priced.once)}")
    out.note(f"per month: {_dollars(priced.before)} now, {_dollars(priced.after)} then")
    for note in dict.fromkeys((*priced.once.notes, *priced.before.notes, *priced.after.notes)):
        out.note(f"note: {note}")


def _held(count: Count) -> str:
    return f"{count.objects:,} / {human_size(count.bytes)}"


def _dollars(estimate: Estimate) -> str:
    from holdfast.cli.cost import dollars

    if estimate.total is None:
        return f"unknown (what is known: {dollars(estimate.known)})"
    return dollars(estimate.total)
