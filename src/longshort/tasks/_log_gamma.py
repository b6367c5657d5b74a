"""Differences of log-gamma values in `keras.ops`, which has no log-gamma function of its own."""

from __future__ import annotations

from typing import Any

from keras import ops

# Stirling's series is used from here on; its first term left out, 1 / (1680 x^7), is below 1.1e-10
# at 9. Below, the recurrence gamma(x + 1) = x gamma(x) leads there.
SHIFT = 8


def log_gamma_difference(x: Any, d: Any) -> Any:
    """Return `log gamma(x + d) - log gamma(x)` for x > 0, d >= 0, elementwise, differentiable.

    The difference of two log-gamma functions would lose all digits in float32 where x is large
    and d small. Here x is moved up by n = 8 with the recurrence, and of the differences of
    Stirling's series only small terms are left (Abramowitz and Stegun, 1964, 6.1.40):

        X = x + n
        (X - 1/2) log1p(d / X) + d (log(X + d) - 1) + S(X + d) - S(X) - sum_{i<n} log1p(d / (x + i))
        S(x) = 1 / (12 x) - 1 / (360 x^3) + 1 / (1260 x^5)

    Accurate to a few roundings of its largest term, about d log(x + d).

    >>> import math
    >>> round(float(log_gamma_difference(1.0, 4.0)), 5), round(math.log(24), 5)
    (3.17805, 3.17805)
    """
    x, d = ops.convert_to_tensor(x), ops.convert_to_tensor(d)
    shifted = x + SHIFT
    return (
        (shifted - 0.5) * ops.log1p(d / shifted)
        + d * (ops.log(shifted + d) - 1.0)
        + stirling_rest(shifted + d)
        - stirling_rest(shifted)
        - recurrence(x, d)
    )


def recurrence(x: Any, d: Any) -> Any:
    """Return `sum_{i<8} log((x + d + i) / (x + i))`: what the shift by 8 adds to the difference."""
    total = ops.log1p(d / x)
    for i in range(1, SHIFT):
        total = total + ops.log1p(d / (x + i))
    return total


def stirling_rest(x: Any) -> Any:
    """Return the sum that Stirling's formula adds to (x - 1/2) log x - x + log(2 pi) / 2."""
    y = 1.0 / x
    return y * (1 / 12 - y * y * (1 / 360 - y * y / 1260))
