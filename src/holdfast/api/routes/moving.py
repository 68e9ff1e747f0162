"""Moves of stores. For operators."""

from __future__ import annotations

from typing import Any, Final

from holdfast.api import moves
from holdfast.api.routing import Route

_ALL: Final = "/api/v1/moves"
_ONE: Final = _ALL + "/{source}"
_SAID: Final[dict[int, Any]] = {200: moves.MoveAnswer}

MOVING: Final = (
    Route("GET", _ALL, moves.show_moves, "List moves of stores", answers={200: moves.MovesAnswer}),
    Route("POST", _ALL, moves.begin_move, "Begin a move of a store", (), moves.MoveWish, _SAID),
    Route(
        "GET",
        _ONE + "/difference",
        moves.verify_move,
        "Tell what a move has left to do",
        answers={200: moves.DifferenceAnswer},
    ),
    Route("POST", _ONE + "/cutover", moves.cut_over, "Cut a move over", (), moves.CutoverWish, _SAID),
    Route("POST", _ONE + "/finish", moves.finish_move, "Finish a move", answers=_SAID),
    Route("POST", _ONE + "/back", moves.take_back, "Take a move back", answers=_SAID),
    Route("DELETE", _ONE, moves.forget_move, "Forget a move", answers={204: None}),
)
