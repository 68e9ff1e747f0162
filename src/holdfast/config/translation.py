"""What variables of older services say, as settings, with the variable that each came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Translation:
    """The settings that the variables give, and by dotted name which variable gave which; `default`: none did."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, value: Any, variable: str) -> None:
        """Set the setting with that dotted name."""
        *above, last = name.split(".")
        place = self.values
        for step in above:
            place = place.setdefault(step, {})
        place[last] = value
        self.origins[name] = variable
