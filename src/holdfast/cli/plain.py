"""Options and arguments whose value is the text that was given: taken as they are.

typer has pydantic check every value, even that of an option that was not given, and to start pydantic takes longer than
most commands do. A text is right as it is, a path is made of it (whether there is such a file is for its reader to tell),
and a default is what its author wrote; all other values are converted by typer as ever.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typer.core import TyperArgument, TyperOption

    Parameter = TyperArgument | TyperOption


def lighten(command: Any) -> None:
    """Have a command of typer, and those below it, take plain values as they are."""
    usual = command.get_params

    def parameters(context: Any) -> Any:
        found = usual(context)  # the option for help is among them
        for parameter in found:
            if "process_value" not in vars(parameter):
                _lighten(parameter)
        return found

    command.get_params = parameters
    for below in getattr(command, "commands", {}).values():
        lighten(below)


def _lighten(parameter: Parameter) -> None:
    usual = parameter.process_value

    def process(context: Any, value: Any) -> Any:
        plain = _plain(parameter, value)
        if plain is None:
            return usual(context, value)
        return plain[0] if parameter.callback is None else parameter.callback(context, parameter, plain[0])

    parameter.process_value = process  # type: ignore[method-assign,assignment]


def _plain(parameter: Parameter, value: Any) -> tuple[Any] | None:
    """Return the value that is meant, in a tuple; None when typer is to find out, or to refuse."""
    kind = parameter.type_descriptor.annotation
    if value is None:
        several = parameter.multiple or parameter.nargs == -1
        return None if parameter.required else (() if several else None,)
    if value is parameter.default and type(value) is kind:
        return (value,)
    if isinstance(value, str):
        return (value,) if kind is str else (Path(value),) if kind is Path else None
    return (list(value),) if kind == list[str] and value else None
