"""`Variant`: the options that make an LSTM another than Keras' own, checked."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from longshort._errors import DataError


@dataclass(frozen=True)
class Variant:
    """Options of `longshort.layers.LSTM` and `LSTMCell` that Keras' do not have.

    The docstring of `longshort.layers.LSTM` has their equations.

    Raises:
        DataError: Values that cannot be, all in one message.
    """

    peephole: bool = False
    coupled: bool = False
    projection: int | None = None
    layer_norm: bool = False
    zoneout: tuple[float, float] = (0.0, 0.0)
    recurrent_dropout_on: str = "state"
    weight_drop: float = 0.0
    cell_clip: float | None = None
    owner: str = field(default="LSTM", compare=False)  # for messages

    @classmethod
    def take_from(cls, arguments: dict[str, Any], owner: str) -> Variant:
        """The variant that keyword arguments ask for; they are taken out of `arguments`."""
        names = arguments.keys() & set(cls.names())
        return cls(owner=owner, **{name: arguments.pop(name) for name in names})

    @classmethod
    def names(cls) -> list[str]:
        """Names of the options."""
        return [f.name for f in fields(cls) if f.name != "owner"]

    def __post_init__(self) -> None:
        faults = [
            f"{name} as True or False, got {value!r}"
            for name in ("peephole", "coupled", "layer_norm")
            if not isinstance(value := getattr(self, name), bool)
        ]
        if self.projection is not None and not (_whole(self.projection) and self.projection >= 1):
            faults.append(
                "projection as a whole number of at least 1 (the size of h) or None, got "
                f"{self.projection!r}"
            )
        rates = self.zoneout
        if _number(rates):
            rates = (rates, rates)  # type: ignore[assignment]
        if isinstance(rates, (list, tuple)) and len(rates) == 2 and all(map(_rate, rates)):
            object.__setattr__(self, "zoneout", (float(rates[0]), float(rates[1])))
        else:
            faults.append(
                "zoneout as one rate in [0, 1), or a pair of them for h and c, got "
                f"{self.zoneout!r}"
            )
        if self.recurrent_dropout_on not in ("state", "update"):
            faults.append(
                "recurrent_dropout_on as 'state' (one mask for all steps on h) or 'update' (a new "
                f"one at each step on what is added to c), got {self.recurrent_dropout_on!r}"
            )
        if not _rate(self.weight_drop):
            faults.append(f"weight_drop as a rate in [0, 1), got {self.weight_drop!r}")
        if self.cell_clip is not None and not (_number(self.cell_clip) and self.cell_clip > 0):
            faults.append(f"cell_clip as a number above 0 or None, got {self.cell_clip!r}")
        if faults:
            raise DataError(f"{self.owner}: expected {'; '.join(faults)}.")

    def config(self) -> dict[str, Any]:
        """The options that are not the default, for a layer's config."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "owner"}
        defaults = {f.name: f.default for f in fields(self)}
        return {name: value for name, value in given.items() if value != defaults[name]}


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _rate(value: Any) -> bool:
    return _number(value) and 0 <= value < 1
