"""EmbeddingDropout: whole words, each sequence its own."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from longshort._errors import DataError
from longshort.layers import EmbeddingDropout

V, B, T = 50, 40, 30
rng = np.random.default_rng(0)
IDS = rng.integers(0, V, (B, T))
X = rng.normal(size=(B, T, 3)).astype(np.float32)


def factors(layer: Any, ids: np.ndarray = IDS) -> np.ndarray:
    """(B, T) what the vectors are multiplied by."""
    ones = np.ones((*ids.shape, 2), dtype=np.float32)
    y = keras.ops.convert_to_numpy(layer(ones, ids, training=True))
    assert (y[..., 0] == y[..., 1]).all()
    return y[..., 0]


def test_all_places_of_a_word_share_its_fate() -> None:
    for seed in range(5):
        found = factors(EmbeddingDropout(V, 0.3, seed=seed))
        np.testing.assert_allclose(found[found > 0], 1 / 0.7, rtol=1e-6)
        for row, ids in zip(found, IDS, strict=True):
            for token in set(ids):
                assert len(set(row[ids == token])) == 1


def test_share_of_what_is_dropped() -> None:
    """`rate` of the words in the mean; a row says little of the next, a word little of another."""
    ids = np.tile(np.arange(V), (200, 1))
    layer = EmbeddingDropout(V, 0.3, seed=1)
    draws = np.stack([factors(layer, ids) == 0 for _ in range(20)])
    assert draws.mean() == pytest.approx(0.3, abs=0.01)
    assert draws.mean(axis=(0, 1)) == pytest.approx(0.3, abs=0.1)
    both = (draws[..., :-1] & draws[..., 1:]).mean()
    assert both == pytest.approx(0.09, abs=0.02)
    assert (draws[:, 0] != draws[:, 1]).mean() > 0.3
    assert (draws[0] != draws[1]).any()


def test_only_in_training() -> None:
    layer = EmbeddingDropout(V, 0.5, seed=0)
    for found in (layer(X, IDS), EmbeddingDropout(V, 0.0)(X, IDS, training=True)):
        assert (keras.ops.convert_to_numpy(found) == X).all()
    y = keras.ops.convert_to_numpy(layer(X, IDS, training=True))
    np.testing.assert_allclose(y[y != 0], (2 * X)[y != 0])


def test_seed_config_and_model(tmp_path: Any) -> None:
    first, second = (factors(EmbeddingDropout(V, 0.5, seed=3)) for _ in "12")
    assert (first == second).all()
    layer = EmbeddingDropout(V, 0.5, seed=3, name="words")
    again = EmbeddingDropout.from_config(layer.get_config())
    assert again.get_config() == layer.get_config() and (factors(again) == first).all()
    ids = keras.Input((None,), dtype="int32")
    y = layer(keras.layers.Embedding(V, 3)(ids), ids)
    model = keras.Model(ids, keras.layers.GlobalAveragePooling1D()(y))
    assert y.shape == (None, None, 3)
    model.compile("sgd", "mse")
    assert np.isfinite(model.train_on_batch(IDS, np.zeros((B, 3))))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert (loaded.predict_on_batch(IDS) == model.predict_on_batch(IDS)).all()


def test_refused() -> None:
    for rate in (1.0, -0.1, "x"):
        with pytest.raises(DataError, match=f"rate must be a number from 0 .*, got {rate!r}"):
            EmbeddingDropout(3, rate)
    with pytest.raises(DataError, match="num_tokens must be a whole number from 1, got 0"):
        EmbeddingDropout(0, 0.5)
