"""What the members of a forecasting network set out from, and how they are mixed.

A network that learns what a linear map leaves over needs little data and begins as good as the map;
one that learns the whole forecast is not held back by the map where data are plenty. Which is
better is a matter of the data, so there are members of both kinds, and their forecasts are averaged
with the weights that do best on the validation part.

Axis letters: N windows, M members, H steps ahead, Q quantiles.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from longshort.data._windows import WindowScale
from longshort.tasks._baselines import MAX_RESIDUAL, NLinear
from longshort.tasks._metrics import pinball

Array = NDArray[np.float64]

KINDS = ("linear", "level")
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the second kind, to choose from


def bases(path: NLinear, x: Array, scale: WindowScale, num_members: int) -> Array:
    """Return (N, M, H): the linear forecast for members of even number, 0 for the others, scaled.

    The scaled level is the last value of the window, so 0 is the naive forecast.
    """
    linear = scale.apply(path.predict(x))
    both = np.stack([linear, np.zeros_like(linear)], axis=1)
    return both[:, np.arange(num_members) % len(KINDS)]


def targets(y: Array, base: Array, scale: WindowScale) -> Array:
    """Return (N, M, H): what each member has to learn of y (N, H)."""
    return np.clip(scale.apply(y)[:, None] - base, -MAX_RESIDUAL, MAX_RESIDUAL)


def mix(forecasts: Array, share: float) -> Array:
    """Return (N, H, Q), the average of members (N, M, H, Q); `share` is the second kind's."""
    linear, level = forecasts[:, 0::2].mean(1), forecasts[:, 1::2].mean(1)
    mixed: Array = (1.0 - share) * linear + share * level
    return mixed


def best_share(forecasts: Array, y: Array, quantiles: list[float]) -> tuple[float, float]:
    """Return the least pinball loss of a mixture of members on y (N, H), and its share."""
    losses = []
    for share in SHARES:
        f = mix(forecasts, share)
        losses.append((pinball(np.broadcast_to(y[..., None], f.shape), f, quantiles), share))
    return min(losses)
