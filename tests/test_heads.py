"""What the network's outputs mean: quantiles and distributions, alone and in a forecaster."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from longshort._errors import DataError
from longshort.data._windows import WindowScale
from longshort.tasks import Forecaster, load
from longshort.tasks._heads import head_of

QS = [0.025, 0.1, 0.5, 0.9, 0.975]
NAMES = [None, "Normal", "StudentT", "NegativeBinomial"]
QUICK = {"season_length": 4, "units": 8, "batch_size": 32, "epochs": 20, "seed": 2}


@pytest.mark.parametrize("name", NAMES[:3])
def test_untrained_head_says_how_errors_spread(name):
    head = head_of(name, QS)
    left = np.random.default_rng(0).normal(0, 2.0, (4000, 3))
    raw = np.broadcast_to(head.start(left), (5, 2, 3, head.outputs))
    base = np.random.default_rng(1).normal(size=(5, 2, 3))
    x = np.ones((5, 4))
    found = head.quantiles(x, raw, base, WindowScale.fit(x))
    expected = base[..., None] + 2.0 * stats.norm.ppf(QS)
    # Seven degrees of freedom are wider at the ends.
    np.testing.assert_allclose(found, expected, atol=1.0 if name == "StudentT" else 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_loss_counts_known_steps_only(name):
    head, rng = head_of(name, QS), np.random.default_rng(0)
    x = rng.poisson(5.0, (3, 6)) + 0.0
    y = rng.poisson(5.0, (3, 4)) + 0.0
    scale, base = WindowScale.fit(x), np.zeros((3, 2, 4))
    raw = rng.normal(size=(3, 2, 4, head.outputs)).astype("f4")
    partly = y.copy()
    partly[:, 1] = np.nan
    other = y.copy()
    other[:, 1] = 77.0
    losses = []
    for now in (partly, other):
        t = head.targets(x, now, base, scale).copy()
        if now is other:
            t[:, :, 1] = np.nan
        losses.append(np.asarray(head.loss(t.astype("f4"), raw)))
    assert losses[0].shape == (3,) and np.isfinite(losses[0]).all()
    np.testing.assert_allclose(losses[0], losses[1])


def test_likelihoods_are_scipys():
    rng = np.random.default_rng(0)
    x, y = rng.poisson(5.0, (3, 6)) + 0.0, rng.poisson(5.0, (3, 4)) + 0.0
    scale, base = WindowScale.fit(x), rng.normal(size=(3, 1, 4))
    raw = rng.normal(size=(3, 1, 4, 2)).astype("f4")
    softplus = np.logaddexp(0, raw[:, 0, :, 1])
    head = head_of("Normal", QS)
    t = head.targets(x, y, base, scale)
    expected = -stats.norm.logpdf(t[:, 0], raw[:, 0, :, 0], softplus + 1e-4).mean(1)
    np.testing.assert_allclose(head.loss(t.astype("f4"), raw), expected, rtol=1e-4)
    head = head_of("NegativeBinomial", QS)
    mean = (np.logaddexp(0, raw[:, 0, :, 0]) + 1e-6) * (x.mean(1, keepdims=True) + 0.5)
    r = 1 / (softplus + 1e-4)
    expected = -stats.nbinom.logpmf(y, r, r / (r + mean)).mean(1)
    t = head.targets(x, y, base, scale).astype("f4")
    np.testing.assert_allclose(head.loss(t, raw), expected, rtol=1e-4)
    found = scale.undo(head.quantiles(x, raw, base, scale)[:, 0])
    exact = stats.nbinom.ppf(QS, r[..., None], (r / (r + mean))[..., None])
    np.testing.assert_allclose(found, exact, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "recursive"),
    [
        ("Normal", False),
        ("StudentT", True),
        pytest.param("Normal", True, marks=pytest.mark.slow),
        pytest.param("StudentT", False, marks=pytest.mark.slow),
    ],
)
def test_forecaster_of_a_distribution(name, recursive, tmp_path):
    rng, t = np.random.default_rng(0), np.arange(200)
    data = pd.DataFrame({"ds": t, "y": 20 + t % 4 * 5.0 + rng.normal(0, 1.0, 200)})
    options = QUICK | {"distribution": name, "recursive": recursive}
    scores = Forecaster(4, 8, **options).backtest(data, 8)
    assert scores["LSTM"]["mae"] < 1.3 and 0.5 <= scores["LSTM"]["coverage-80"] <= 0.97
    if recursive:
        return
    model = Forecaster(4, 8, **options).fit(data)
    model.save(tmp_path / "m.longshort")
    again = load(tmp_path / "m.longshort")
    pd.testing.assert_frame_equal(again.predict(), model.predict(), check_exact=True)


def test_counts():
    rng, t = np.random.default_rng(0), np.arange(240)
    rate = np.array([0.3, 4.0, 1.0, 8.0])[t % 4]
    data = pd.DataFrame({"ds": t, "y": rng.poisson(rate)})
    model = Forecaster(4, 8, distribution="NegativeBinomial", **(QUICK | {"epochs": 60}))
    table = model.fit(data.iloc[:236]).predict()
    values = table.drop(columns=["unique_id", "ds"]).to_numpy()
    np.testing.assert_allclose(values, values.round(), atol=1e-9)
    assert (values >= -1e-9).all()
    order = ["LSTM-lo-95", "LSTM-lo-80", "LSTM", "LSTM-hi-80", "LSTM-hi-95"]
    assert (np.diff(table[order], axis=1) >= 0).all()
    assert table["LSTM"].iloc[3] > table["LSTM"].iloc[0] + 3
    with pytest.raises(DataError, match="for counts.*series 'series' has a y of 0.5"):
        model.fit(data.assign(y=data["y"] + 0.5))
    with pytest.raises(DataError, match="logarithm of counts"):
        Forecaster(4, distribution="NegativeBinomial", log=True).fit(data)
    with pytest.raises(DataError, match="distribution must be one of 'Normal'.*got 'Gauss'"):
        Forecaster(4, distribution="Gauss").fit(data)
