"""Draw which words of a source a translator looked at."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from longshort._errors import DataError
from longshort.tasks._alignment import Alignment


def plot_alignment(alignment: Alignment, *, title: str | None = None) -> Figure:
    """Draw the attention of a translation: a column a token of the source, a row one of the target.

    Dark is 1, white 0; each row sums to 1. The figure belongs to the caller: pyplot and its state
    are not touched.

    Args:
        alignment: From `Translator.align`.
        title: Above the picture.

    Raises:
        DataError: If it is none, or has no token on one side.

    Example:
        >>> given = Alignment(["das", "Haus"], ["the", "house"], np.eye(2, dtype="float32"))
        >>> [label.get_text() for label in plot_alignment(given).axes[0].get_yticklabels()]
        ['the', 'house']
    """
    if not isinstance(alignment, Alignment):
        raise DataError(
            f"plot_alignment: expected what Translator.align returns, got a "
            f"{type(alignment).__name__}."
        )
    if not alignment.source or not alignment.target:
        raise DataError("plot_alignment: expected a token on both sides, one has none.")
    width, height = 1.6 + 0.32 * len(alignment.source), 1.2 + 0.28 * len(alignment.target)
    figure = Figure(figsize=(max(width, 3.0), max(height, 2.4)), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    ax.imshow(alignment.weights, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    ax.xaxis.tick_top()
    # A single dollar sign or a pair would be read as mathematics.
    source, target = (
        [token.replace("$", r"\$") for token in tokens]
        for tokens in (alignment.source, alignment.target)
    )
    ax.set_xticks(np.arange(len(source)), source, rotation=60, ha="left")
    ax.set_yticks(np.arange(len(target)), target)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure
