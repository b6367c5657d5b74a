import numpy as np
import pandas as pd
import pytest

from longshort._errors import DataError
from longshort.tasks._horizon import bands_of, models_of, score_by_horizon, step_ahead


def backtest(n=20, h=3, seed=0):
    """Two series, n windows each: y is noise that grows with the step, the forecast is 0."""
    rng = np.random.default_rng(seed)
    cutoff = np.repeat(np.arange(n), h)
    step = np.tile(np.arange(1, h + 1), n)
    one = pd.DataFrame({"ds": cutoff + step, "cutoff": cutoff, "y": rng.normal(0, step)})
    table = pd.concat([one.assign(unique_id=name) for name in ("a", "b")], ignore_index=True)
    table["LSTM"] = 0.0
    for value, z in ((80, 1.0), (99.5, 3.0)):
        table[f"LSTM-lo-{value}"], table[f"LSTM-hi-{value}"] = -z, z
    return table.assign(Naive=1.0)


def test_models_and_bands():
    table = backtest()
    assert models_of(table) == ["LSTM", "Naive"]
    assert bands_of(table, "LSTM") == {
        80: ("LSTM-lo-80", "LSTM-hi-80"),
        99.5: ("LSTM-lo-99.5", "LSTM-hi-99.5"),
    }
    assert bands_of(table, "Naive") == {}
    assert models_of(table.rename(columns={"Naive": "my-hi-5"})) == ["LSTM", "my-hi-5"]


def test_scores_by_hand():
    table = pd.DataFrame({"unique_id": "a", "ds": [1, 2, 2, 3], "cutoff": [0, 0, 1, 1]})
    table["y"] = [1.0, 4.0, 3.0, np.nan]
    table = table.assign(LSTM=2.0, Naive=3.0)
    table["LSTM-lo-80"], table["LSTM-hi-80"] = 1.0, 3.0
    scores = score_by_horizon(table).set_index(["model", "step"])
    assert scores.loc[("LSTM", 1), "mae"] == 1.0  # 1 and 3 against 2
    assert scores.loc[("LSTM", 2), "mae"] == scores.loc[("LSTM", 2), "rmse"] == 2.0
    assert scores.loc[("Naive", 1), "rmse"] == pytest.approx(np.sqrt(2))
    assert scores.loc[("Naive", 2), "smape"] == pytest.approx(200 / 7)
    assert scores.loc[("LSTM", 1), "coverage-80"] == 1.0
    assert scores.loc[("LSTM", 2), "coverage-80"] == 0.0
    # y = 4: median 2 (0.5 * 2), ends 1 (0.1 * 3) and 3 (0.9 * 1).
    assert scores.loc[("LSTM", 2), "pinball"] == pytest.approx((1.0 + 0.3 + 0.9) / 3)
    assert scores.loc["Naive"][["pinball", "coverage-80"]].isna().all().all()


def test_order_of_rows_does_not_matter():
    table = backtest()
    mixed = table.sample(frac=1, random_state=0)
    assert (step_ahead(mixed) == mixed["ds"] - mixed["cutoff"]).all()
    pd.testing.assert_frame_equal(score_by_horizon(mixed), score_by_horizon(table))


def test_errors_grow_with_the_step():
    mae = score_by_horizon(backtest(300)).query("model == 'LSTM'")["mae"].to_numpy()
    np.testing.assert_allclose(mae, np.sqrt(2 / np.pi) * np.arange(1, 4), rtol=0.15)


def test_levels_can_be_chosen():
    columns = score_by_horizon(backtest(), level=[80]).columns
    assert columns.tolist()[2:] == ["mae", "rmse", "smape", "pinball", "coverage-80"]
    with pytest.raises(DataError, match=r"levels \[80, 99.5\], got \[90\]"):
        score_by_horizon(backtest(), level=[90])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="cutoff"), "no column 'cutoff'"),
        (lambda t: t.iloc[:0], "no rows"),
        (lambda t: t[["unique_id", "ds", "cutoff", "y"]], "no forecasts"),
        (lambda t: pd.concat([t, t]), "twice"),
        (lambda t: t[[*t.columns[:4], "Naive"]], "no intervals"),
    ],
)
def test_tables_that_are_no_backtest(change, message):
    with pytest.raises(DataError, match=message):
        score_by_horizon(change(backtest()), level=[80])
