"""The figures of kernel.py: what was measured, its target, and whether it was met."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from turns import number, spread

LIMIT = "of the limit"
RATIO = "times ours"
FULL = "of full length"  # ours, on sequences half as long on average
FAULTS = "page faults a step"

BIG = ("large", "lm650", "wide")
B1 = ("b1", "b1big")
TORCH = ("torch", "torch-malloc")


@dataclass(frozen=True)
class Target:
    """What the median of a figure should be; None stands for any shape or task."""

    mode: str
    contenders: tuple[str, ...]
    measure: str
    comparison: str
    value: float
    shapes: tuple[str, ...] | None = None
    task: str | None = None

    def __str__(self) -> str:
        return f"{self.comparison} {self.value:g}"

    def met(self, median: float) -> bool:
        if self.comparison == "<=":
            return median <= self.value
        return median > self.value if self.comparison == ">" else median >= self.value


TARGETS = (  # the first that fits counts
    Target("float32", ("longshort",), LIMIT, ">=", 0.80, ("mid", *BIG)),
    Target("float32", ("longshort",), LIMIT, ">=", 0.65, ("seed", "long")),
    Target("float32", TORCH, RATIO, ">=", 2.0, B1, "inference"),
    Target("float32", ("onnxruntime",), RATIO, ">", 1.0, B1, "inference"),
    Target("float32", ("torch-malloc",), RATIO, ">=", 1.25, ("all",)),
    Target("float32", ("torch",), RATIO, ">=", 1.6, ("all",)),
    Target("float32", ("torch-malloc",), RATIO, ">", 1.0),
    Target("bf16", ("longshort",), RATIO, ">=", 2.0, BIG),
    Target("bf16", ("torch-bf16", "torch-bf16-malloc"), RATIO, ">", 1.0),
    Target("ragged", ("longshort-ragged",), FULL, "<=", 0.6),
    Target("ragged", ("torch-ragged", "torch-ragged-malloc"), RATIO, ">=", 4.0),
)


@dataclass
class Figure:
    """One measure of one contender; a value for each round, or one geometric mean (`all`)."""

    mode: str
    shape: str
    task: str
    contender: str
    measure: str
    values: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def target(self) -> Target | None:
        for t in TARGETS:
            shapes = t.shapes or ((self.shape,) if self.shape != "all" else ())
            if (
                (t.mode, t.measure) == (self.mode, self.measure)
                and self.contender in t.contenders
                and self.shape in shapes
                and t.task in (None, self.task)
            ):
                return t
        return None

    def __str__(self) -> str:
        values = spread(self.values) if len(self.values) > 1 else number(self.median)
        text = f"{values} {self.measure}"
        if target := self.target:
            text += f" [target {target}: {'met' if target.met(self.median) else 'missed'}]"
        return text

    def as_dict(self) -> dict[str, Any]:
        target = self.target
        return vars(self) | {
            "median": self.median,
            "target": target and str(target),
            "met": target and target.met(self.median),
        }


def geometric_means(figures: list[Figure]) -> list[Figure]:
    """Over the shapes, of each contender's and task's ratio in float32."""
    groups: dict[tuple[str, str], list[float]] = {}
    for figure in figures:
        if (figure.mode, figure.measure) == ("float32", RATIO):
            groups.setdefault((figure.task, figure.contender), []).append(figure.median)
    return [
        Figure("float32", "all", task, contender, RATIO, [statistics.geometric_mean(medians)])
        for (task, contender), medians in groups.items()
        if len(medians) > 1
    ]
