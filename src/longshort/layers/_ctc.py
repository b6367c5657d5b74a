"""The CTC loss with the lengths of frames and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from longshort.ops._ctc import ctc_loss


@keras.saving.register_keras_serializable("longshort")
class CTCLoss(keras.losses.Loss):
    """Connectionist temporal classification (Graves et al. 2006), frames counted.

    -log of the probability of a label sequence, summed over all paths through the frames that say
    it once repeats are joined and blanks dropped. `keras.losses.CTC` takes every frame of a padded
    batch as sound; here the targets carry how many there are, see `pack`. On the fused path a
    kernel finds loss and gradient in one pass; else the arithmetic is `keras.ops.ctc_loss`.

    Call: targets (B, 1 + L) int32 as `pack` makes them and logits (B, T, K + 1), in nats, the blank
    in column 0.

    Args:
        reduction: As for every Keras loss; the default is the mean over the batch.
        name: Of the loss.

    >>> targets = CTCLoss.pack([[2, 1], [1]], frames=[5, 3])
    >>> targets.tolist()
    [[5, 2, 1], [3, 1, 0]]
    >>> round(float(CTCLoss()(targets, np.zeros((2, 5, 3)))), 3)
    1.721
    """

    def __init__(self, reduction: str = "sum_over_batch_size", name: str = "ctc_loss", **more: Any):
        super().__init__(name=name, reduction=reduction, **more)

    @staticmethod
    def pack(
        labels: Sequence[Sequence[int]], frames: Sequence[int], width: int | None = None
    ) -> NDArray[np.int32]:
        """Return targets (B, 1 + L): the number of frames, the labels, zeros.

        Args:
            labels: For each row its labels, 1 to K.
            frames: For each row how many frames of the logits count.
            width: L; None: that of the longest row.

        Raises:
            ValueError: A row has fewer frames than it needs: one a label, and a blank between
                equal ones.
        """
        if len(labels) != len(frames):
            raise ValueError(f"CTCLoss: got {len(labels)} targets for {len(frames)} rows.")
        longest = max(map(len, labels), default=0)
        packed = np.zeros((len(labels), 1 + max(longest, width or 1)), np.int32)
        for i, (row, count) in enumerate(zip(labels, frames, strict=True)):
            if any(k < 1 for k in row):
                raise ValueError(
                    f"CTCLoss: target {i} holds {min(row)}; labels begin at 1, for 0 is the blank."
                )
            if (needed := frames_needed(row)) > count:
                raise ValueError(
                    f"CTCLoss: target {i} of {len(row)} labels needs {needed} frames (one each, "
                    f"and a blank between equal ones), but its row has {count}."
                )
            packed[i, 0] = count
            packed[i, 1 : 1 + len(row)] = row
        return packed

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the reduced loss."""
        # Keras would multiply the losses (B,) by a mask (B, T) that hangs on the logits; what it
        # says the targets say. A sum is a tensor of its own, without one.
        return super().__call__(y_true, ops.add(y_pred, 0.0), sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return (B,) losses."""
        return ctc_loss(ops.convert_to_tensor(y_pred), ops.cast(y_true, "int32"))


def frames_needed(labels: Sequence[int]) -> int:
    """Return the least frames that can say these labels.

    >>> frames_needed([1, 1, 2])
    4
    """
    return len(labels) + sum(a == b for a, b in zip(labels, labels[1:], strict=False))
