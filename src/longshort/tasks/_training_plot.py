"""Draw how a training went."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from longshort._errors import DataError


def plot_training(task: Any, *, title: str | None = None) -> Figure:
    """Draw the loss of each epoch, and which epoch's weights were kept.

    The figure belongs to the caller: pyplot and its state are not touched.

    Args:
        task: A fitted task that has `history_` and `num_held_out_`.
        title: Above the picture.

    Raises:
        DataError: If the task has no history.

    Example:
        >>> from longshort.tasks import TextClassifier
        >>> task = TextClassifier(2, embedding_size=2, epochs=2)
        >>> figure = plot_training(task.fit(["a", "b"] * 10, [0, 1] * 10))
        >>> figure.axes[0].get_ylabel()
        'validation loss'
    """
    history = getattr(task, "history_", None)
    if not history:
        raise DataError(
            f"plot_training: expected a fitted task with a history_, got {task!r}. Call fit first."
        )
    held = bool(task.num_held_out_)
    epochs = np.arange(1, len(history) + 1)
    kept = int(np.nanargmin(history)) if held else len(history) - 1
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    ax.plot(epochs, history, color="#0b4a8f", linewidth=1.6, marker="o", markersize=3)
    ax.plot(epochs[kept], history[kept], color="#b3541e", marker="o", markersize=8)
    ax.annotate(
        f"kept: epoch {kept + 1}, {history[kept]:.4f}",
        (epochs[kept], history[kept]),
        textcoords="offset points",
        xytext=(0, 10),
        ha="center",
    )
    ax.margins(x=0.12, y=0.2)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("epoch")
    ax.set_ylabel("validation loss" if held else "training loss")
    ax.grid(axis="y", color="#000000", alpha=0.08)
    ax.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure
