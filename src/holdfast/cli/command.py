"""How a coroutine becomes a command: the options that all share, one place for errors, one for the event loop."""

from __future__ import annotations

import asyncio
import copy
import inspect
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, get_args, get_type_hints
from weakref import WeakKeyDictionary

import typer

from holdfast.cli import exit as endings
from holdfast.cli.connect import Target
from holdfast.cli.output import Output
from holdfast.core.errors import HoldfastError, InternalError

Body = Callable[..., Coroutine[Any, Any, int | None]]

BESIDE: Final = "Works beside the catalog, with --data or --config"
_BESIDE: Final[WeakKeyDictionary[typer.Typer, str]] = WeakKeyDictionary()
_OF_SERVER: Final = frozenset({"server", "token", "token_file", "ca_file"})
_CONTEXT: Final = "context_"
_WHERE: Final = "Where"
_HOW: Final = "How it is shown"


def _shared(
    server: Annotated[
        str | None, typer.Option(help="URL of a server (or HOLDFAST_SERVER)", rich_help_panel=_WHERE)
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(help="its token; safer: --token-file (or HOLDFAST_TOKEN)", rich_help_panel=_WHERE),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="file with the token (or HOLDFAST_TOKEN_FILE)", rich_help_panel=_WHERE),
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="certificates to trust for https", rich_help_panel=_WHERE)
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="without a server: the data directory (or HOLDFAST_DATA)", rich_help_panel=_WHERE),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="without a server: the configuration file (or HOLDFAST_CONFIG)", rich_help_panel=_WHERE
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="one JSON object per line", rich_help_panel=_HOW)
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="only errors", rich_help_panel=_HOW)] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="tracebacks of errors", rich_help_panel=_HOW)
    ] = False,
) -> None:
    """The options that every command has; only the signature is used."""


class Cli(NamedTuple):
    """What a command is given beside its own arguments."""

    target: Target
    out: Output


def beside_catalog(group: typer.Typer, rest: str = "") -> None:
    """Have all commands of a group say that they work beside the catalog, and not offer a server.

    Args:
        rest: path at which a server does the same.
    """
    _BESIDE[group] = rest
    group.info.help = f"{group.info.help or ''} {_where(rest)}".strip()


def command(
    app: typer.Typer, name: str, *, panel: str | None = None, beside: str | None = None
) -> Callable[[Body], Body]:
    """Register a coroutine as the command `name`.

    Its first parameter is the `Cli`, the others are typer's, or a dataclass whose fields are: options that several
    commands have together. It returns an exit status, or None for success; what it
    raises becomes one line on standard error and the status of its kind.

    Args:
        beside: it works beside the catalog alone; path at which a server does the same, or "".
    """
    rest = _BESIDE.get(app) if beside is None else beside

    def register(body: Body) -> Body:
        own, groups = _expanded(_parameters(body)[1:])
        shared = _parameters(_shared)
        if rest is not None:
            shared = [_unoffered(parameter) for parameter in shared]

        context = inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        taken = [context, *own, *shared]

        def wrapper(**given: Any) -> None:
            called = _called(given.pop(_CONTEXT))
            asked = {parameter.name: given.pop(parameter.name) for parameter in shared}
            for group, made in groups.items():
                given[group] = made(**{name: given.pop(name) for name in made.__dataclass_fields__})
            raise typer.Exit(_perform(body, asked, given, called))

        wrapper.__name__ = body.__name__
        wrapper.__doc__ = inspect.getdoc(body)
        if rest is not None:
            wrapper.__doc__ = f"{wrapper.__doc__}\n\n{_where(rest)}"
        wrapper.__signature__ = inspect.Signature(taken)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in taken}
        app.command(name, rich_help_panel=panel)(wrapper)
        return body

    return register


def _where(rest: str) -> str:
    """Return the sentence that says where such a command works."""
    return f"{BESIDE}{f'; over REST: {rest}' if rest else ''}."


def _unoffered(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter that help leaves out when it is about a server: it is still taken, and refused in words."""
    if parameter.name not in _OF_SERVER:
        return parameter
    kind, option = get_args(parameter.annotation)
    hidden = copy.copy(option)
    hidden.hidden = True
    return parameter.replace(annotation=Annotated[kind, hidden])


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of `function`, annotations resolved, all by keyword."""
    hints = get_type_hints(function, include_extras=True)
    return [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(function).parameters.items()
    ]


def _expanded(
    parameters: list[inspect.Parameter],
) -> tuple[list[inspect.Parameter], dict[str, type[Any]]]:
    """Return the parameters with the fields of dataclasses in the place of these, and which those were."""
    found: list[inspect.Parameter] = []
    groups: dict[str, type[Any]] = {}
    for parameter in parameters:
        if not (isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation)):
            found.append(parameter)
            continue
        groups[parameter.name] = parameter.annotation
        hints = get_type_hints(parameter.annotation, include_extras=True)
        found += [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=hints[field.name],
            )
            for field in fields(parameter.annotation)
        ]
    return found, groups


def _perform(body: Body, shared: dict[str, Any], given: dict[str, Any], called: str) -> int:
    out = Output(as_json=shared.pop("json"), quiet=shared.pop("quiet"), debug=shared.pop("debug"))
    try:
        return _run(body(Cli(Target(**shared), out), **given)) or endings.OK
    except HoldfastError as error:
        return fail(out, error, command=called)
    except KeyboardInterrupt:
        out.note("interrupted")
        return endings.INTERRUPTED
    except asyncio.CancelledError:
        return endings.TERMINATED
    except BrokenPipeError:
        _forget_output()
        return endings.BROKEN_PIPE
    except Exception as error:
        return fail(out, _defect(error))


def fail(out: Output, error: HoldfastError, *, command: str = "holdfast COMMAND") -> int:
    """Show `error` and return its exit status."""
    if out.debug:
        import traceback

        traceback.print_exception(error)
    out.error(error, command=command)
    return endings.ending(error).status


def _called(context: typer.Context) -> str:
    """Return the command as it was called, for hints: `holdfast store create`."""
    names = []
    while context.parent is not None:
        names.append(context.info_name or "")
        context = context.parent  # type: ignore[assignment]
    return " ".join(["holdfast", *reversed(names)])


def _defect(error: Exception) -> HoldfastError:
    found = InternalError(f"unexpected {type(error).__name__}: {error}")
    found.__cause__ = error
    return found


def _run(coroutine: Coroutine[Any, Any, int | None]) -> int | None:
    """Run to the end; Ctrl-C and SIGTERM cancel it, so that it can clean up."""

    async def guarded() -> int | None:
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await coroutine

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(guarded())
    finally:
        coroutine.close()  # where it was interrupted before it had begun


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _forget_output() -> None:
    """Point standard output nowhere, so that flushing it at the end does not fail again."""
    import os

    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
