import pandas as pd
import pytest
from scipy.stats import binomtest

from longshort.tasks._verdict import band_verdict, rank, sign_test, verdict

NAN = float("nan")


@pytest.mark.parametrize(("wins", "n"), [(0, 1), (3, 20), (500, 1000), (460, 1001), (2300, 4500)])
def test_sign_test_is_that_of_scipy(wins, n):
    assert sign_test(wins, n) == pytest.approx(binomtest(wins, n).pvalue, rel=0.02)


def scores(**mase):
    return {name: {"mase": value} for name, value in mase.items()}


def windows(own, theirs):
    return pd.DataFrame({"LSTM": own, "Naive": theirs})


def test_a_model_that_wins():
    said = verdict(scores(LSTM=0.8, Naive=1.0, Linear=1.2), windows([0.8] * 20, [1.0] * 20))
    assert said == [
        "Yes: the LSTM has a MASE of 0.800, 20 % below that of the best baseline, Naive (1.000).",
        "Window by window it is closer than Naive in 20 of 20, so often that chance does not "
        "explain it.",
    ]


def test_a_model_that_loses_names_what_is_better():
    mase = scores(LSTM=1.1, Naive=1.0, Drift=2.0, Linear=1.05)
    said = verdict(mase, windows([1.1, 0.5, 1.7], [1.0, 1.0, 1.0]))
    assert said[0].startswith("No: the LSTM has a MASE of 1.100, 10 % above that of")
    assert said[1].endswith("cheaper than a network: Naive, Linear.")
    assert said[2].endswith("in 1 of 3, which chance alone could do.")


def test_ties_and_perfect_baselines():
    assert "the same as" in verdict(scores(LSTM=1.005, Naive=1.0), windows([1.0], [1.0]))[0]
    assert verdict(scores(LSTM=1.0, Naive=1.0), windows([1.0], [1.0]))[1].endswith("in 0 of 1.")
    perfect = verdict(scores(LSTM=0.2, Naive=0.0), windows([0.2], [0.0]))
    assert perfect[0] == "No: Naive makes no error at all, the LSTM has a MASE of 0.200."
    assert "the same as" in verdict(scores(LSTM=0.0, Naive=0.0), windows([0.0], [0.0]))[0]


def test_what_cannot_be_said():
    assert verdict(scores(LSTM=NAN, Naive=NAN), windows([], [])) == [
        "Cannot be said: no history moves before its window, so no error can be scaled."
    ]
    assert "no baseline" in verdict(scores(LSTM=1.0), windows([], []))[0]
    assert rank(scores(a=NAN, b=2.0, c=1.0)) == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("share", "n", "ending"),
    [
        (0.70, 400, "too narrow."),
        (0.90, 400, "too wide."),
        (0.77, 400, "as promised as far as 400 windows can tell."),
        (0.70, 10, "as promised as far as 10 windows can tell."),
        (0.50, 1, "one window cannot tell."),
    ],
)
def test_bands(share, n, ending):
    said = band_verdict({"LSTM": {"coverage-80": share}}, [80], n)
    assert said[0].startswith(f"The 80 % interval held {100 * share:.0f} % of what happened")
    assert said[0].endswith(ending)


def test_bands_without_values():
    said = band_verdict({"LSTM": {"coverage-80": NAN}}, [80, 99.5], 3)
    assert said == [f"The {v} % interval has no values to judge it by." for v in (80, 99.5)]
