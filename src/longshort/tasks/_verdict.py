"""What a backtest says in plain words: does the model beat the baselines, are its bands honest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

Scores = Mapping[str, Mapping[str, float]]

# Differences below this share are called none.
SAME = 0.01


def rank(scores: Scores) -> list[str]:
    """Return the models, the smallest MASE first and those without one last.

    >>> rank({"a": {"mase": 2.0}, "b": {"mase": float("nan")}, "c": {"mase": 1.0}})
    ['c', 'a', 'b']
    """
    mase = {name: row["mase"] for name, row in scores.items()}
    return sorted(mase, key=lambda name: (math.isnan(mase[name]), mase[name]))


def verdict(scores: Scores, windows: pd.DataFrame, model: str = "LSTM") -> list[str]:
    """Say whether the model beats every baseline, by how much, and whether that may be chance.

    Args:
        scores: For each model a dict of metrics, as `Forecaster.backtest` returns them.
        windows: The MASE of each model in each window, one column a model.
        model: The one that is judged; all others are baselines.

    Returns:
        Sentences.

    >>> scores = {"LSTM": {"mase": 0.9}, "Naive": {"mase": 1.2}}
    >>> verdict(scores, pd.DataFrame({"LSTM": [0.9], "Naive": [1.2]}))[0]
    'Yes: the LSTM has a MASE of 0.900, 25 % below that of the best baseline, Naive (1.200).'
    """
    others = [name for name in rank(scores) if name != model]
    own = scores[model]["mase"]
    if not others or math.isnan(own) or math.isnan(scores[others[0]]["mase"]):
        return [
            "Cannot be said: no history moves before its window, so no error can be scaled."
            if others
            else "Cannot be said: there is no baseline beside the model."
        ]
    best = others[0]
    theirs = scores[best]["mase"]
    beside = f"the best baseline, {best} ({theirs:.3f})"
    gap = (own - theirs) / theirs if theirs > 0 else (math.inf if own > 0 else 0.0)
    if abs(gap) < SAME:
        said = [f"No: the {model} has a MASE of {own:.3f}, the same as {beside}, within 1 %."]
    elif gap < 0:
        said = [
            f"Yes: the {model} has a MASE of {own:.3f}, {-100 * gap:.0f} % below that of {beside}."
        ]
    elif gap == math.inf:
        said = [f"No: {best} makes no error at all, the {model} has a MASE of {own:.3f}."]
    else:
        worse = [name for name in others if scores[name]["mase"] < own]
        said = [
            f"No: the {model} has a MASE of {own:.3f}, {100 * gap:.0f} % above that of {beside}.",
            f"Closer on these windows, and cheaper than a network: {', '.join(worse)}.",
        ]
    return [*said, _by_window(windows, model, best)]


def _by_window(windows: pd.DataFrame, model: str, best: str) -> str:
    """Count the windows that the model wins, and compare with a fair coin."""
    wins = int((windows[model] < windows[best]).sum())
    losses = int((windows[model] > windows[best]).sum())
    n = wins + losses
    start = f"Window by window it is closer than {best} in {wins} of {len(windows)}"
    if n == 0:
        return start + "."
    # The sign test; windows of series that move together know less than their number says.
    if sign_test(wins, n) > 0.05:
        return start + ", which chance alone could do."
    return start + f", so {'often' if wins > losses else 'seldom'} that chance does not explain it."


def sign_test(wins: int, n: int) -> float:
    """Return the two-sided probability that a fair coin is as uneven as `wins` of n.

    >>> sign_test(4, 4), sign_test(5, 10)
    (0.125, 1.0)
    """
    fewer = min(wins, n - wins)
    if n > 1000:  # the normal distribution, with half a win of continuity correction
        return math.erfc((n / 2 - fewer - 0.5) / math.sqrt(n / 2)) if 2 * fewer < n else 1.0
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n)


def band_verdict(
    scores: Scores, level: Sequence[int | float], num_windows: int, model: str = "LSTM"
) -> list[str]:
    """Say of each interval whether it held as many values as it promised.

    The steps of one window go wrong together, so the share inside is compared as if each window
    were one value: nothing is called dishonest within two standard errors of `num_windows` draws.

    >>> band_verdict({"LSTM": {"coverage-80": 0.5}}, [80], num_windows=100)
    ['The 80 % interval held 50 % of what happened: too narrow.']
    """
    said = []
    for value in level:
        share, wanted = scores[model].get(f"coverage-{value}", math.nan), value / 100
        start = f"The {value:g} % interval held {100 * share:.0f} % of what happened"
        if math.isnan(share):
            said.append(f"The {value:g} % interval has no values to judge it by.")
            continue
        room = 2 * math.sqrt(wanted * (1 - wanted) / max(num_windows, 1)) + 0.5 / num_windows
        if abs(share - wanted) <= room:
            ending = f", as promised as far as {num_windows:,} windows can tell."
            said.append(start + (ending if num_windows > 1 else ", and one window cannot tell."))
        else:
            said.append(f"{start}: too {'narrow' if share < wanted else 'wide'}.")
    return said
