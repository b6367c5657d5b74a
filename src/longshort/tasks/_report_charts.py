"""Charts of a report as inline SVG: axes, lines, bands, in colours that the page decides.

Shapes carry classes, not colours, so that one page is legible in light, in dark and in print.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num, num2date
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A line of a chart; unknown values (NaN) leave a gap.

    Attributes:
        x: (N,) times or numbers.
        y: (N,) values.
        css: Class of the page's style, such as "model".
    """

    x: pd.Index
    y: ArrayLike
    css: str


@dataclass(frozen=True)
class Band:
    """An area between two lines; see `Line`."""

    x: pd.Index
    low: ArrayLike
    high: ArrayLike
    css: str


@dataclass
class Chart:
    """What one chart shows, and `svg` to draw it.

    The values of lines decide the range of y; bands may add the span of the lines on each side
    and are cut there, so that one wild interval does not flatten everything else.

    Attributes:
        label: What a screen reader says.
        lines: From back to front.
        bands: Behind the lines, and not further to the left or right.
        from_zero: Whether y begins at 0.
        x_label: Under the axis; "" for none.
        y_label: Above the axis; "" for none.
        size: Width and height in units of the picture; it is scaled to the page.
    """

    label: str
    lines: list[Line] = field(default_factory=list)
    bands: list[Band] = field(default_factory=list)
    from_zero: bool = False
    x_label: str = ""
    y_label: str = ""
    size: tuple[int, int] = (440, 220)

    def svg(self) -> str:
        """Return the chart as an SVG element, without ids, so that a page can hold many.

        >>> chart = Chart("a line", [Line(pd.Index([0, 1]), [1.0, 3.0], "model")])
        >>> chart.svg().startswith('<svg viewBox="0 0 440 220" role="img" aria-label="a line">')
        True
        """
        width, height = self.size
        x_low, x_high = _range([_position(line.x) for line in self.lines])
        low, high = self._y_range()
        y_ticks = [v for v in _ticks(low, high) if low <= v <= high]
        labels = [number(v) for v in y_ticks]
        left = 14 + 6.6 * max(map(len, labels), default=1)
        top, right = (22 if self.y_label else 8), width - 12
        bottom = height - (40 if self.x_label else 24)

        def across(x: ArrayLike) -> Array:
            return left + (np.asarray(x, np.float64) - x_low) / (x_high - x_low) * (right - left)

        def up(y: ArrayLike) -> Array:
            inside = np.clip(np.asarray(y, np.float64), low, high)
            return bottom - (inside - low) / (high - low) * (bottom - top)

        parts = [
            f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(self.label)}">'
        ]
        for value, text in zip(y_ticks, labels, strict=True):
            y = float(up(value))
            parts.append(f'<path class="grid" d="M{left:.1f} {y:.1f}H{right:.1f}"/>')
            parts.append(f'<text x="{left - 6:.1f}" y="{y + 4:.1f}" class="end">{text}</text>')
        for band in self.bands:
            x = across(_position(band.x))
            path = _area(x, up(band.low), up(band.high))
            parts.append(f'<path class="{band.css}" d="{path}"/>')
        for line in self.lines:
            path = _path(across(_position(line.x)), up(line.y))
            parts.append(f'<path class="line {line.css}" d="{path}"/>')
        parts.append(f'<path class="axis" d="M{left:.1f} {bottom:.1f}H{right:.1f}"/>')
        for value, text in self._x_ticks(x_low, x_high):
            x_at = float(across(value))
            parts.append(f'<path class="axis" d="M{x_at:.1f} {bottom:.1f}v4"/>')
            at = min(max(x_at, left), right - 3.2 * len(text) + 8)
            parts.append(
                f'<text x="{at:.1f}" y="{bottom + 17:.1f}" class="middle">{escape(text)}</text>'
            )
        if self.x_label:
            middle = (left + right) / 2
            parts.append(
                f'<text x="{middle:.1f}" y="{height - 5}" class="middle">'
                f"{escape(self.x_label)}</text>"
            )
        if self.y_label:
            parts.append(f'<text x="4" y="12">{escape(self.y_label)}</text>')
        return "".join(parts) + "</svg>"

    def _y_range(self) -> tuple[float, float]:
        low, high = _range([np.asarray(line.y, np.float64) for line in self.lines])
        if self.bands:
            ends = [np.asarray(e, np.float64) for band in self.bands for e in (band.low, band.high)]
            outer, span = _range([*ends, np.array([low, high])]), high - low
            low, high = max(outer[0], low - span), min(outer[1], high + span)
        margin = 0.04 * (high - low)
        return (0.0 if self.from_zero else low - margin), high + margin

    def _x_ticks(self, low: float, high: float) -> list[tuple[float, str]]:
        if not any(isinstance(line.x, pd.DatetimeIndex) for line in self.lines):
            found = [v for v in _ticks(low, high, integer=True) if low <= v <= high]
            return [(v, number(v)) for v in found]
        locator = AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fewer ticks than asked for, on short ranges
            ticks = [float(v) for v in locator.tick_values(num2date(low), num2date(high))]
        ticks = [v for v in ticks if low <= v <= high]
        formatter = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
        texts = formatter.format_ticks(ticks)
        # What all ticks share, such as the year, stands beside the first.
        shared = formatter.get_offset()
        return [
            (v, f"{shared} {t}" if shared and i == 0 else t)
            for i, (v, t) in enumerate(zip(ticks, texts, strict=True))
        ]


def number(value: float) -> str:
    """Return a number as people read it: four digits, thousands apart.

    >>> [number(v) for v in (0.123456, 12345.6, -3.0, 2e12, float("nan"))]
    ['0.1235', '12,346', '-3', '2e+12', '-']
    """
    if not np.isfinite(value):
        return "-"
    if 1e4 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.4g}" if value else "0"


def _position(x: pd.Index) -> Array:
    """Return times as numbers: days for dates."""
    if isinstance(x, pd.DatetimeIndex):
        return np.asarray(date2num(x.tz_localize(None).to_pydatetime()), np.float64)
    return x.to_numpy(np.float64)


def _range(values: Sequence[Array]) -> tuple[float, float]:
    joined = np.concatenate(values) if values else np.zeros(0)
    joined = joined[np.isfinite(joined)]
    if len(joined) == 0:
        return 0.0, 1.0
    low, high = float(joined.min()), float(joined.max())
    if low == high:
        half = 0.5 * abs(low) or 0.5
        return low - half, high + half
    return low, high


def _ticks(low: float, high: float, *, integer: bool = False) -> list[float]:
    ticks = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10], integer=integer).tick_values(low, high)
    return [float(v) for v in ticks]


def _path(x: Array, y: Array) -> str:
    runs: list[list[str]] = [[]]
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        if np.isnan(b):
            runs.append([])
        else:
            runs[-1].append(f"{a:.1f} {b:.1f}")
    # A value between two gaps is a dot: the round ends of a line without length.
    return "".join("M" + "L".join(run) + ("h0" if len(run) == 1 else "") for run in runs if run)


def _area(x: Array, low: Array, high: Array) -> str:
    known = np.isfinite(low) & np.isfinite(high)
    there = [f"{a:.1f} {b:.1f}" for a, b in zip(x[known], high[known], strict=True)]
    back = [f"{a:.1f} {b:.1f}" for a, b in zip(x[known][::-1], low[known][::-1], strict=True)]
    return "M" + "L".join([*there, *back]) + "Z" if there else ""
