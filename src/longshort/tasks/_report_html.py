"""Pieces of HTML that the parts of a report share; every text is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from longshort.tasks._backtest import BASELINES, MODEL
from longshort.tasks._report_charts import number


def section(heading: str, content: str) -> str:
    """Return a part of the page under a heading, nothing without content (HTML)."""
    return f"<section><h2>{escape(heading)}</h2>{content}</section>" if content else ""


def bullets(sentences: Iterable[str]) -> str:
    """Return sentences as a list."""
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in sentences) + "</ul>"


def grid(head: Sequence[str], rows: Iterable[Sequence[str]], best: int | None = None) -> str:
    """Return a table of text cells, the first column to the left; row `best` is marked."""
    parts = ["".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)]
    lines = [f"<thead><tr>{parts[0]}</tr></thead><tbody>"]
    for i, (first, *rest) in enumerate(rows):
        mark = ' <span class="badge">best</span>' if i == best else ""
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        style = ' class="best"' if i == best else ""
        lines.append(f'<tr{style}><th scope="row">{escape(first)}{mark}</th>{cells}</tr>')
    return f'<div class="scroll"><table>{"".join(lines)}</tbody></table></div>'


def score_cell(row: Mapping[str, float], key: str) -> str:
    """Return a score as people read it, "-" where it is unknown."""
    value = row.get(key, float("nan"))
    if not np.isfinite(value):
        return "-"
    if key in ("mase", "smape"):
        return f"{value:.3f}" if key == "mase" else f"{value:.2f}"
    # Zeros at the end stay, so that a column reads evenly.
    return f"{value:#.4g}".rstrip(".") if 1e-4 <= abs(value) < 1e4 else number(value)


def share_cell(share: float) -> str:
    """Return a share as whole percents, "-" where it is unknown."""
    return "-" if np.isnan(share) else f"{100 * share:.0f} %"


def styles(models: Sequence[str]) -> dict[str, str]:
    """Return a class for each model; a baseline keeps its own whichever others there are."""
    names = [*BASELINES, *(name for name in models if name not in (MODEL, *BASELINES))]
    return {MODEL: "model"} | {name: f"b{i % 6}" for i, name in enumerate(names)}


def swatches(entries: Iterable[tuple[str, str]]) -> str:
    """Return a legend of (class, text)."""
    parts = []
    for css, text in entries:
        shape = (
            f'<path class="{css}" d="M0 1h26v10h-26z"/>'
            if css.startswith("band")
            else f'<path class="line {css}" d="M0 6h26"/>'
        )
        picture = f'<svg viewBox="0 0 26 12" aria-hidden="true">{shape}</svg>'
        parts.append(f"<li>{picture}{escape(text)}</li>")
    return f'<ul class="legend">{"".join(parts)}</ul>'
