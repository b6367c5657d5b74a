"""`examples/long_memory.py`: its data, its initial biases, and that it runs."""

import math
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import long_memory  # noqa: E402


def test_data():
    rng = np.random.default_rng(0)
    x, y = long_memory.adding(rng, 200, 9)
    assert x.shape == (200, 9, 2) and y.shape == (200, 1)
    assert (x[:, :4, 1].sum(1) == 1).all() and (x[:, 4:, 1].sum(1) == 1).all()
    np.testing.assert_allclose(np.prod(x, -1).sum(1), y[:, 0], rtol=1e-6)
    assert np.mean((y - 1) ** 2) == pytest.approx(1 / 6, rel=0.2)  # the baseline in the table
    x, y = long_memory.copy(rng, 5, 9)
    K, letters = long_memory.SYMBOLS, long_memory.LETTERS
    assert x.shape == (5, 9 + 2 * K, letters + 2) and (x.sum(-1) == 1).all()
    assert np.array_equal(x.argmax(-1)[:, :K], y) and y.max() < letters
    assert (x[:, K:-K, letters] == 1).all() and (x[:, -K:, letters + 1] == 1).all()


def test_gates_remember_for_as_long_as_they_should():
    made = long_memory.layers(1000, seed=0)
    layer = made["LSTM, chrono"](200)
    layer.build((None, None, 2))
    i, f, c, o = np.split(np.array(layer.cell.bias), 4)
    times = 1 / (1 - 1 / (1 + np.exp(-f.astype("f8"))))  # 1 / (1 - forget gate)
    assert 1.9 < times.min() < 40 and 900 < times.max() < 1001
    assert np.array_equal(i, -f) and not c.any() and not o.any()
    gru = made["GRU, chrono"](200)
    gru.build((None, None, 2))
    z, *rest = np.split(np.array(gru.cell.bias)[0], 3)
    assert np.array_equal(z, f) and not np.any(rest) and not np.any(gru.cell.bias[1])


@pytest.mark.slow
def test_runs_and_draws(tmp_path, capsys):
    arguments = ["--lengths", "6", "--steps", "2", "--cells", "SimpleRNN", "LSTM"]
    rows = long_memory.main([*arguments, "--plot", str(tmp_path / "norms.png")])
    assert [(row["task"], row["steps"]) for row in rows] == [("adding", 2)] * 2 + [("copy", 2)] * 2
    assert all(math.isfinite(row["loss"]) for row in rows)
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert (tmp_path / "norms.png").stat().st_size > 10_000
    again = long_memory.main([*arguments[:4], "--tasks", "copy", "--cells", "LSTM"])
    assert again[0]["loss"] == rows[3]["loss"]  # same seed, same numbers


def test_gradients_fade_by_the_forget_gates():
    model = long_memory.model_of("adding", "LSTM", 100, 0)
    fading = long_memory.gradient_norms(model, "adding", 100, 0)
    model = long_memory.model_of("adding", "LSTM, chrono", 100, 0)
    lasting = long_memory.gradient_norms(model, "adding", 100, 0)
    assert fading.shape == lasting.shape == (100,)
    assert lasting[99] / lasting[0] > 100 * fading[99] / fading[0]


def test_short_memory_is_learned():
    keras.utils.set_random_seed(0)
    rows = long_memory.main(["--lengths", "10", "--cells", "LSTM, chrono", "--tasks", "adding"])
    assert rows[0]["loss"] < 0.1 / 6


def test_bad_lengths(capsys):
    with pytest.raises(SystemExit):
        long_memory.main(["--lengths", "3"])
    assert "expected at least 4 steps, got 3" in capsys.readouterr().err
