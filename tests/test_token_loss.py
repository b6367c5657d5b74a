"""The loss of a softmax with its gradient, beside the definition in float64."""

from __future__ import annotations

from typing import Any

import longshort  # isort: skip  # noqa: F401  before Keras: it chooses the backend
import keras
import numpy as np
import pytest

from longshort.ops import _token_loss
from longshort.ops._paths import Path, machine_path
from longshort.tasks._language_net import TiedEmbedding
from longshort.tasks._token_loss import TokenLoss, as_it_is

B, T, E, V = 3, 5, 4, 7


def by_definition(
    y: np.ndarray, weights: np.ndarray, bias: np.ndarray, targets: np.ndarray, share: float
) -> tuple[float, list[np.ndarray]]:
    """Loss and gradients of y, weights (V, E) and bias."""
    y, targets = y.reshape(-1, E).astype(float), targets.reshape(-1)
    logits = y @ weights.astype(float).T + bias
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    label = (1 - share) * np.eye(V)[targets] + share / V
    real = (targets != 0)[:, None] / max(1, np.count_nonzero(targets))
    slope = real * (p - label)
    loss = -(real * label * np.log(p)).sum()
    return loss, [(slope @ weights).reshape(B, T, E), slope.T @ y, slope.sum(axis=0)]


def softmax_layer(kind: str) -> Any:
    layer: Any = TiedEmbedding(V, E) if kind == "tied" else keras.layers.Dense(V)
    layer.build((B, T) if kind == "tied" else (B, T, E))
    rng = np.random.default_rng(0)
    layer.set_weights([rng.normal(size=w.shape).astype("float32") for w in layer.weights])
    return layer


CASES = [  # softmax, share of all tokens alike, share of padding
    ("tied", 0.1, 0.4),
    ("dense", 0.1, 0.0),
    ("dense", 0.0, 0.4),
    ("tied", 0.0, 0.4),
    ("tied", 0.1, 1.0),
]
PORTIONS = [(1, 100 * V), (6, 100 * V), (100, 4 * V), (100, 1), (100, 100 * V)]


@pytest.mark.parametrize(
    ("path", "rows", "most_logits", "kind", "share", "padding"),
    [
        *(("kernel", 0, 0, *case) for case in CASES),
        *(("keras", *portions, *CASES[0]) for portions in PORTIONS),
        *(("keras", *PORTIONS[2], *case) for case in CASES[1:]),
    ],
)
def test_loss_and_gradients_are_those_of_the_definition(
    path: str,
    rows: int,
    most_logits: int,
    kind: str,
    share: float,
    padding: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if path == "keras":
        monkeypatch.setattr(_token_loss, "machine_path", lambda: Path("keras", "for this test"))
        monkeypatch.setattr(_token_loss, "ROWS", rows)
        monkeypatch.setattr(_token_loss, "MOST_LOGITS", most_logits)
    elif machine_path().name != "kernel":
        pytest.skip("the kernels are not in use")
    rng = np.random.default_rng(1)
    y = rng.normal(size=(B, T, E)).astype("float32")
    targets = rng.integers(1, V, (B, T)).astype("int32") * (rng.random((B, T)) >= padding)
    softmax = softmax_layer(kind)
    # y as weights too, so that one step of plain descent gives all gradients.
    source = keras.layers.Embedding(B * T, E)
    places, wanted = (keras.Input((T,), dtype="int32") for _ in "12")
    model = keras.Model([places, wanted], TokenLoss(softmax, share)(source(places), wanted))
    source.set_weights([y.reshape(-1, E)])
    given = [np.arange(B * T).reshape(B, T), targets]
    rows, bias = softmax.get_weights()
    rows = rows if kind == "tied" else rows.T
    loss, gradients = by_definition(y, rows, bias, targets, share)
    assert model.predict_on_batch(given)[0] == pytest.approx(loss, rel=1e-5)
    model.compile(keras.optimizers.SGD(1.0), loss=as_it_is)
    assert model.train_on_batch(given, targets) == pytest.approx(loss, rel=1e-5)
    new_rows, new_bias = softmax.get_weights()
    new_rows = new_rows if kind == "tied" else new_rows.T
    found = [y - source.get_weights()[0].reshape(B, T, E), rows - new_rows, bias - new_bias]
    for gradient, expected in zip(found, gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, atol=2e-6)
