"""What a translator looked at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Alignment(NamedTuple):
    """Where the decoder looked.

    Attributes:
        source: S tokens.
        target: T tokens.
        weights: (T, S) float32: for each token of the target how much it attended to each of the
            source; rows sum to 1.
    """

    source: list[str]
    target: list[str]
    weights: NDArray[np.float32]
