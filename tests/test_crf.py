"""The CRF layer against an enumeration of all paths in float64."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest

from longshort._errors import DataError
from longshort.layers import CRF

K, T = 3, 4
array = keras.ops.convert_to_numpy


class Case:
    """A layer with random weights, and random sequences with padding anywhere."""

    def __init__(self, seed: int = 0, constrained: bool = False, **options: Any) -> None:
        rng = np.random.default_rng(seed)
        self.allowed = np.ones((K, K), bool)
        self.first, self.last = np.ones(K, bool), np.ones(K, bool)
        if constrained:
            self.allowed[[0, 2], [1, 2]] = False
            self.first[1] = self.last[2] = False
            options |= {
                "allowed": self.allowed,
                "allowed_start": self.first,
                "allowed_end": self.last,
            }
        self.crf = CRF(K, **options)
        self.crf.build((None, None, K))
        shapes = ((K,), (K, K), (K,))
        self.weights = [rng.normal(size=s).astype("f4").astype("f8") for s in shapes]
        self.crf.set_weights(self.weights)
        self.mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1]], bool)
        self.x = rng.normal(size=(4, T, K)).astype("f4").astype("f8") * 2
        self.tags = np.array([[0, 0, 2, 1], [0, 0, 1, 1], [1, 1, 2, 0], [1, 2, 2, 1]])

    def score(self, x: np.ndarray, path: Any, weights: Any = None) -> float:
        start, transitions, end = self.weights if weights is None else weights
        total = start[path[0]] + end[path[-1]] + sum(x[t, k] for t, k in enumerate(path))
        return total + sum(transitions[i, j] for i, j in itertools.pairwise(path))

    def legal(self, path: Any) -> bool:
        pairs = all(self.allowed[i, j] for i, j in itertools.pairwise(path))
        return bool(pairs and self.first[path[0]] and self.last[path[-1]])

    def paths(self, x: np.ndarray, every: bool = False) -> list[tuple[float, tuple[int, ...]]]:
        """All paths of a sequence without its padding, from the best."""
        found = itertools.product(range(K), repeat=len(x))
        scored = [(self.score(x, p), p) for p in found if every or self.legal(p)]
        return sorted(scored, reverse=True)

    def log_norm(self, x: np.ndarray, every: bool = False) -> float:
        return float(np.logaddexp.reduce([s for s, _ in self.paths(x, every)]))


@pytest.fixture(params=[False, True], ids=["free", "constrained"])
def case(request: pytest.FixtureRequest) -> Case:
    return Case(constrained=request.param)


def test_log_likelihood(case: Case) -> None:
    got = array(case.crf.log_likelihood(case.x, case.tags, case.mask))
    for b, real in enumerate(case.mask):
        x, tags = case.x[b, real], case.tags[b, real]
        want = case.score(x, tags) - case.log_norm(x) if case.legal(tags) else -np.inf
        np.testing.assert_allclose(got[b], want, atol=2e-6)


def test_unconstrained_training() -> None:
    case = Case(constrained=True, constrain_training=False)
    got = array(case.crf.log_likelihood(case.x, case.tags, case.mask))
    for b, real in enumerate(case.mask):
        x = case.x[b, real]
        want = case.score(x, case.tags[b, real]) - case.log_norm(x, every=True)
        np.testing.assert_allclose(got[b], want, atol=2e-6)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="differentiates with JAX")
def test_gradients(case: Case) -> None:
    """By central differences of the enumeration; nothing is NaN beside what is forbidden."""
    import jax

    tags = np.array([[0, 0, 2, 1], [2, 1, 9, 9], [9, 9, 0, 0], [9, 2, 9, 1]])

    def loss(values: Any) -> Any:
        variables = case.crf.trainable_variables
        with keras.StatelessScope(zip(variables, values[1:], strict=True)):
            return case.crf.log_likelihood(values[0], tags, case.mask).sum()

    def exact() -> float:
        chosen = [(case.x[b, m], tags[b, m]) for b, m in enumerate(case.mask)]
        assert all(case.legal(t) for _, t in chosen)
        return sum(case.score(x, t) - case.log_norm(x) for x, t in chosen)

    arrays = [case.x, *case.weights]
    got = jax.grad(loss)([np.asarray(a, "f4") for a in arrays])
    for gradient, given in zip(got, arrays, strict=True):
        want = np.empty(given.shape)
        for place in np.ndindex(given.shape):
            kept, sums = given[place], []
            for given[place] in (kept + 1e-5, kept - 1e-5):
                sums.append(exact())
            given[place] = kept
            want[place] = (sums[0] - sums[1]) / 2e-5
        np.testing.assert_allclose(array(gradient), want, atol=5e-6)


def test_decode_and_n_best(case: Case) -> None:
    best = array(case.crf.decode(case.x, case.mask))
    k = 12  # more than there are paths of two steps
    tags, logs = map(array, case.crf.n_best(case.x, k, case.mask))
    assert (best[~case.mask] == -1).all()
    for b, real in enumerate(case.mask):
        x = case.x[b, real]
        want = case.paths(x)[:k]
        assert tuple(best[b, real]) == want[0][1]
        assert [tuple(path) for path in tags[b, : len(want)][:, real]] == [p for _, p in want]
        expected = [s - case.log_norm(x) for s, _ in want]
        np.testing.assert_allclose(logs[b, : len(want)], expected, atol=4e-6)
        assert (tags[b, len(want) :] == -1).all() and (logs[b, len(want) :] == -np.inf).all()
        assert (tags[b][:, ~real] == -1).all()


def test_marginals(case: Case) -> None:
    got = array(case.crf.marginals(case.x, case.mask))
    want = np.zeros(case.x.shape)
    for b, real in enumerate(case.mask):
        x = case.x[b, real]
        for score, path in case.paths(x):
            want[b, np.flatnonzero(real), path] += np.exp(score - case.log_norm(x))
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_forbidden_whatever_the_emissions() -> None:
    case = Case(constrained=True)
    x = np.random.default_rng(1).normal(size=(200, 6, K)).astype("f4") * 1e6
    for path in array(case.crf.decode(x)):
        assert case.legal(path)
    assert np.isfinite(array(case.crf.marginals(x))).all()


def test_tags_far_below_the_best() -> None:
    """The only way leads through a tag whose exponential is 0 beside the others'."""
    allowed = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 1]], bool)
    crf = CRF(3, allowed=allowed, allowed_end=[False, False, True])
    crf.build((None, None, 3))
    x = np.array([[[300.0, 0, -50], [300, 0, 1], [0, 0, 2]]])
    want = np.logaddexp(3.0, 2.0)  # 1 2 2 and 1 1 2
    got = crf.log_likelihood(x, np.array([[1, 2, 2]]))
    np.testing.assert_allclose(array(got), [3.0 - want], atol=1e-5)
    assert array(crf.decode(x)).tolist() == [[1, 2, 2]]


def test_no_real_step_and_no_path() -> None:
    case = Case()
    nothing = np.zeros((4, T), bool)
    assert not array(case.crf.log_likelihood(case.x, case.tags, nothing)).any()
    assert (array(case.crf.decode(case.x, nothing)) == -1).all()
    assert not array(case.crf.marginals(case.x, nothing)).any()
    assert array(case.crf.n_best(case.x, 2, nothing)[1]).tolist() == [[0.0, -np.inf]] * 4
    closed = CRF(K, allowed=np.zeros((K, K), bool))
    closed.build((None, None, K))
    assert (array(closed.decode(case.x)) == -1).all()


def small_model(crf: CRF) -> keras.Model:
    words = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 6, mask_zero=True)(words)
    return keras.Model(words, crf(keras.layers.Dense(crf.num_tags)(x)))


def test_in_a_keras_model(tmp_path: Any) -> None:
    """It learns what only transitions tell, and a saved model goes on training."""
    rng = np.random.default_rng(0)
    first = rng.integers(2, size=64)
    tags = (first[:, None] + np.arange(6)) % 2  # alternating; the words tell the first only
    words = np.full((64, 6), 3)
    words[:, 0] = 1 + first
    words[:32, 4:], tags[:32, 4:] = 0, -1
    crf = CRF(2)
    model = small_model(crf)
    model.compile(keras.optimizers.Adam(0.05), loss=crf.loss)
    losses = model.fit(words, tags, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < 0.1 * losses[0]
    emissions = model.predict(words, verbose=0)
    assert np.array_equal(array(crf.decode(emissions, words > 0)), tags)

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    layer = again.layers[-1]
    assert isinstance(layer, CRF) and layer is not crf
    assert again.loss.get_layer() is layer
    assert np.array_equal(again.predict(words, verbose=0), emissions)
    assert np.isclose(
        again.evaluate(words, tags, verbose=0), model.evaluate(words, tags, verbose=0)
    )
    plain = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert np.array_equal(array(plain.layers[-1].transitions), array(crf.transitions))
    before = array(layer.transitions)
    again.fit(words, tags, verbose=0)
    assert not np.array_equal(array(layer.transitions), before)


def test_config() -> None:
    crf = Case(constrained=True, constrain_training=False).crf
    again = CRF.from_config(crf.get_config())
    assert again.get_config() == crf.get_config()
    assert np.array_equal(again.allowed, crf.allowed)


def test_half_precision_sums_in_float32() -> None:
    case = Case()
    half = CRF(K, dtype="mixed_bfloat16")
    half.build((None, None, K))
    half.set_weights(case.weights)
    x = case.x.astype("f4")
    got, want = half.log_likelihood(x, case.tags), case.crf.log_likelihood(x, case.tags)
    np.testing.assert_allclose(array(got), array(want), rtol=1e-6)


def test_bad_arguments() -> None:
    with pytest.raises(DataError, match="num_tags must be a whole number from 1, got 0"):
        CRF(0)
    with pytest.raises(DataError, match=r"allowed as booleans of shape \(2, 2\), got int64"):
        CRF(2, allowed=np.ones((2, 2), int))
    with pytest.raises(DataError, match=r"\(batch, steps, 2\), got .*3.*Dense\(2\)"):
        CRF(2)(np.ones((1, 4, 3)))
    crf = Case().crf
    with pytest.raises(DataError, match="call or build"):
        CRF(2).decode(np.ones((1, 2, 2)))
    with pytest.raises(DataError, match=r"mask of shape .*\(4, 4\), got \(4, 3\)"):
        crf.decode(np.ones((4, 4, K)), np.ones((4, 3), bool))
    with pytest.raises(DataError, match="k must be"):
        crf.n_best(np.ones((4, 4, K)), 0)
