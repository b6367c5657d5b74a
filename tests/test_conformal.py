import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

from longshort._errors import DataError
from longshort.tasks import conformal_intervals


def tables(errors, *, scale=(1.0,), f=10.0):
    """A backtest of errors (W, h) for each series of a scale, and a forecast of all of them."""
    errors = np.asarray(errors, float)
    n, h = errors.shape
    backtest, forecast = [], []
    for i, size in enumerate(scale):
        for w in range(n):
            ds = w * h + 1 + np.arange(h)
            row = {"unique_id": f"s{i}", "cutoff": w * h, "ds": ds, "y": f + size * errors[w]}
            backtest.append(pd.DataFrame(row | {"LSTM": f, "LSTM-lo-50": 0.0, "LSTM-hi-50": 1.0}))
        ds = n * h + 1 + np.arange(h)
        row = {"unique_id": f"s{i}", "ds": ds, "LSTM": f, "LSTM-lo-50": 0.0, "LSTM-hi-50": 1.0}
        forecast.append(pd.DataFrame(row | {"Naive": 1.0}))
    return pd.concat(forecast, ignore_index=True), pd.concat(backtest, ignore_index=True)


def test_by_hand():
    # (9 + 1) * 50 % = 5, * 72 % = 7.2, so the 8th, * 90 % = 9; the second step is ten times worse.
    first = np.array([-1.0, 2, -3, 4, -5, 6, 7, 8, -9])
    forecast, backtest = tables(np.stack([first, 10 * first[::-1]], 1))
    shuffled = backtest.sample(frac=1, random_state=0)
    found = conformal_intervals(forecast, shuffled, [90, 50, 72])
    ends = [f"LSTM-{end}-{v}" for v in (50, 72, 90) for end in ("lo", "hi")]
    assert found.columns.tolist() == ["unique_id", "ds", "LSTM", *ends, "Naive"]
    half = (found[ends[1::2]].to_numpy() - found[ends[::2]].to_numpy()) / 2
    np.testing.assert_allclose(half, [[5, 8, 9], [50, 80, 90]])
    assert (found["LSTM"] == forecast["LSTM"]).all()


def test_series_are_pooled_in_units_of_their_errors():
    rng = np.random.default_rng(0)
    forecast, backtest = tables(rng.normal(size=(30, 2)), scale=(1e-3, 1.0, 1e4))
    backtest.loc[backtest.index[3], "y"] = np.nan
    found = conformal_intervals(forecast, backtest, [80])
    half = (found["LSTM-hi-80"] - found["LSTM"]).to_numpy().reshape(3, 2)
    np.testing.assert_allclose(half[2] / half[1], 1e4)
    np.testing.assert_allclose(half[1] / half[0], 1e3, rtol=0.1)  # one y of it is unknown


def test_coverage_of_errors_that_are_alike():
    # Given N errors the coverage has the distribution Beta(k, N + 1 - k).
    rng, n, repetitions = np.random.default_rng(1), 50, 20
    inside = np.zeros((repetitions, 2))
    for i in range(repetitions):
        forecast, backtest = tables(rng.standard_t(3, size=(n, 1)))
        new = 10 + rng.standard_t(3, size=500)
        row = conformal_intervals(forecast, backtest, [60, 95]).iloc[0]
        for j, v in enumerate((60, 95)):
            inside[i, j] = ((new >= row[f"LSTM-lo-{v}"]) & (new <= row[f"LSTM-hi-{v}"])).mean()
    for level, share in zip((60, 95), inside.T, strict=True):
        k = int(np.ceil((n + 1) * level / 100 - 1e-9))
        expected = k / (n + 1)
        spread = np.sqrt((beta.var(k, n + 1 - k) + expected * (1 - expected) / 500) / repetitions)
        assert abs(share.mean() - expected) < 5 * spread


def test_few_windows_warn_and_a_perfect_series_gets_no_width():
    forecast, backtest = tables([[1.0], [-3.0], [2.0]], scale=(1.0, 0.0))
    with pytest.warns(UserWarning, match="6 errors a step are too few for 95 %.* 19 or more"):
        found = conformal_intervals(forecast, backtest, [95])
    assert found["LSTM-hi-95"].tolist() == [13.0, 10.0]


def test_a_baseline_gets_intervals_too():
    forecast, backtest = tables(np.ones((4, 1)))
    found = conformal_intervals(forecast, backtest.assign(Naive=3.0), [60], model="Naive")
    assert found["Naive-hi-60"].tolist() == [1.0 + 8.0]
    assert found["LSTM-hi-50"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, b: (f, b, {"level": [0, 80]}), "different levels above 0"),
        (lambda f, b: (f, b, {"level": "80"}), "different levels above 0"),
        (lambda f, b: (f, b, {"model": "NBEATS"}), "forecast has no column 'NBEATS'"),
        (lambda f, b: (f, b.drop(columns="cutoff"), {}), "no column 'cutoff'"),
        (lambda f, b: (f.assign(unique_id="x"), b, {}), "no errors of series 'x'"),
        (lambda f, b: (f, b[b["ds"] % 2 == 1], {}), "the forecast has 2 steps, the backtest only"),
        (lambda f, b: (f, b.assign(y=b["y"].where(b["ds"] % 2 == 1)), {}), "known 2 steps ahead"),
    ],
)
def test_bad_input(change, message):
    forecast, backtest, given = change(*tables(np.ones((4, 2))))
    with pytest.raises(DataError, match=message):
        conformal_intervals(forecast, backtest, **given)
