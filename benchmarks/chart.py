"""The chart of kernel.py: fractions of the limit, ours and torch's, for each shape."""

from __future__ import annotations

import numpy as np

from figures import LIMIT, Figure
from problem import TASKS
from turns import SHAPES

COLOURS = {"longshort": "#0b5fa5", "torch-malloc": "#e08a1e", "torch": "#b9b9b9"}
LABELS = {"torch-malloc": "torch, malloc tuned"}
HEIGHT = 0.27  # of a bar; a shape has 1


def draw(figures: list[Figure], machine: str, file: str) -> None:
    """One panel a task; bars are medians, whiskers the rounds' range, black ticks the targets."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.lines import Line2D
    from matplotlib.ticker import PercentFormatter

    found = {
        (f.task, f.contender, f.shape): f
        for f in figures
        if (f.mode, f.measure) == ("float32", LIMIT)
    }
    shapes = [s for s in SHAPES if any(key[2] == s for key in found)]
    canvas = Canvas(figsize=(11, 2.0 + 0.62 * len(shapes)), layout="constrained")
    axes = canvas.subplots(1, len(TASKS), sharey=True, sharex=True)
    for axis, task in zip(axes, TASKS, strict=True):
        for i, (contender, colour) in enumerate(COLOURS.items()):
            bars = [found.get((task, contender, shape)) for shape in shapes]
            rows = [(y, f) for y, f in enumerate(bars) if f]
            if not rows:
                continue
            y = np.array([y for y, _ in rows]) + (i - 1) * HEIGHT
            median = np.array([f.median for _, f in rows])
            low = median - [min(f.values) for _, f in rows]
            high = [max(f.values) for _, f in rows] - median
            axis.barh(
                y, median, HEIGHT * 0.92, color=colour, label=LABELS.get(contender, contender)
            )
            axis.errorbar(median, y, xerr=[low, high], fmt="none", ecolor="#333333", elinewidth=0.8)
            for where, value, above in zip(y, median, high, strict=True):
                text = f" {value:.0%}" if value >= 0.095 else f" {value:.1%}"
                axis.text(value + above, where, text, va="center", fontsize=8)
            for where, (_, figure) in zip(y, rows, strict=True):
                if target := figure.target:
                    ends = where - HEIGHT / 2, where + HEIGHT / 2
                    axis.plot([target.value] * 2, ends, color="black", linewidth=2)
        axis.set_title(task)
        axis.set_xlabel("fraction of the limit")
        axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(shapes)), [f"{s}\n{SHAPES[s]}" for s in shapes])
    axes[0].invert_yaxis()
    axes[0].set_xlim(0, max([1.0, *(max(f.values) for f in found.values())]) * 1.1)
    handles, labels = axes[0].get_legend_handles_labels()
    handles.append(Line2D([], [], color="black", linewidth=2))
    labels.append("target for longshort")
    canvas.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    canvas.suptitle(f"LSTM kernels against the best matrix product\n{machine}, float32; B, T, D, H")
    canvas.savefig(file, dpi=150)
