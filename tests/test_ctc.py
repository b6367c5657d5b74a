from itertools import product

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshort.layers import CTCLoss
from longshort.ops import _ctc
from longshort.ops._paths import Path, machine_path
from longshort.tasks._ctc_decoding import PrefixBeam, best_path, collapsed, ctc_losses
from longshort.tasks._error_rates import edit_distance, error_rates


def by_enumeration(log_probs):
    """The probability of every label sequence, summed over all paths."""
    steps, columns = log_probs.shape
    found = {}
    for path in product(range(columns), repeat=steps):
        labels, last = [], 0
        for k in path:
            if k not in (0, last):
                labels.append(k)
            last = k
        p = np.exp(sum(log_probs[t, k] for t, k in enumerate(path)))
        found[tuple(labels)] = found.get(tuple(labels), 0.0) + p
    return found


def random_log_probs(seed, steps=5, columns=4):
    x = np.random.default_rng(seed).normal(0, 1.5, (steps, columns))
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_what_enumeration_finds(seed):
    log_probs = random_log_probs(seed)
    wanted = sorted(by_enumeration(log_probs).items(), key=lambda one: -one[1])
    beam = PrefixBeam(10_000, least=-np.inf)
    beam.push(log_probs[:2])
    beam.push(log_probs[2:])
    found = beam.best(10_000)
    assert [labels for labels, _ in found[:20]] == [labels for labels, _ in wanted[:20]]
    np.testing.assert_allclose(
        [np.exp(score) for _, score in found], [p for _, p in wanted], rtol=1e-9
    )


def test_the_best_path_and_parts_of_a_path():
    path = [0, 1, 1, 0, 1, 2, 2, 3, 0]
    log_probs = np.log(np.eye(4)[path] * 0.9 + 0.025)
    assert best_path(log_probs) == (1, 1, 2, 3)
    for cut in range(1, len(path)):
        assert collapsed(path[:cut]) + collapsed(path[cut:], path[cut - 1]) == (1, 1, 2, 3)


@pytest.mark.parametrize("seed", range(3))
def test_a_scorer_is_added_for_each_label_and_the_end(seed):
    log_probs, weight, bonus = random_log_probs(seed, 4, 3), 0.7, 0.3
    table = random_log_probs(seed + 10, 3, 3)  # by the last label of the prefix

    def scorer(prefix):
        return table[prefix[-1] if prefix else 0]

    def total(labels, p):
        score, last = np.log(p), 0
        for k in labels:
            score, last = score + weight * table[last, k] + bonus, k
        return score + weight * table[last, 0]

    everything = by_enumeration(log_probs).items()
    wanted = sorted(((total(*one), one[0]) for one in everything), reverse=True)
    beam = PrefixBeam(10_000, scorer, weight=weight, bonus=bonus, least=-np.inf)
    beam.push(log_probs)
    found = beam.best(8)
    assert [labels for labels, _ in found] == [labels for _, labels in wanted[:8]]
    np.testing.assert_allclose([s for _, s in found], [s for s, _ in wanted[:8]])


@pytest.fixture(params=["kernel", "keras"])
def path(request, monkeypatch):
    """Each of the two, where it is there."""
    if request.param == "keras":
        monkeypatch.setattr(_ctc, "machine_path", lambda: Path("keras", "for this test"))
    elif machine_path().name != "kernel":
        pytest.skip("the kernels are not in use")
    return request.param


def loss_and_gradient(logits, targets):
    import jax

    total, pull = jax.vjp(lambda x: _ctc.ctc_loss(x, targets), logits)
    return np.asarray(total), np.asarray(pull(np.arange(1.0, 1 + len(logits), dtype="f4"))[0])


def test_long_rows():
    """Beside the sums in float64 and their differences along random directions."""
    if machine_path().name != "kernel":
        pytest.skip("the kernels are not in use")
    rng = np.random.default_rng(3)
    labels = [tuple(rng.integers(1, 9, n).tolist()) for n in (0, 1, 5, 12, 20, 3)]
    frames = [40, 1, 17, 40, 40, 6]
    logits = rng.normal(0, 3, (6, 40, 9)).astype("f4")
    loss, gradient = loss_and_gradient(logits, CTCLoss.pack(labels, frames))

    def exact(x):
        x = x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
        return ctc_losses([row[:n] for row, n in zip(x, frames, strict=True)], labels)

    logits = logits.astype(float)
    np.testing.assert_allclose(loss, exact(logits), rtol=1e-6)
    for _ in range(20):
        step = rng.normal(size=logits.shape)
        slopes = (exact(logits + 1e-5 * step) - exact(logits - 1e-5 * step)) / 2e-5
        found = (gradient * step).sum(axis=(1, 2)) / np.arange(1, 7)
        np.testing.assert_allclose(found, slopes, atol=2e-5)
    for row, n in enumerate(frames):
        assert not gradient[row, n:].any()


def test_gradient_of_what_is_traced_within():
    """As a function of both, so that `grad` may lie outside of `jit`, `checkpoint` and `vmap`."""
    import jax

    logits = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("f4")
    targets = CTCLoss.pack([[1], [2, 1]], [4, 5])
    wanted = loss_and_gradient(logits, targets)[1] / np.array([1, 2])[:, None, None]
    for wrap in (jax.jit, jax.checkpoint):
        total = wrap(lambda x, y: _ctc.ctc_loss(x, y).sum())
        found = jax.grad(lambda x, f=total: f(x, targets))(logits)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_a_path_that_underflows_at_one_frame():
    """The best path begins with e^-750 and is then certain; another costs twice 500."""
    if machine_path().name != "kernel":
        pytest.skip("the kernels are not in use")
    low = -2000.0
    logits = np.array(
        [[[0, -750, low, low], [-500, -500, 0, low], [-500, low, -500, 0], [low, low, low, 0]]],
        "f4",
    )
    loss, gradient = loss_and_gradient(logits, CTCLoss.pack([[1, 2, 3]], [4]))
    assert loss[0] == pytest.approx(750, rel=1e-6)
    assert gradient[0, 0, 1] == pytest.approx(-1, abs=1e-6)


def test_what_is_nearly_impossible_has_a_loss_and_a_gradient():
    """Paths that are e^-1000 of the others, in a frame or between forward and backward sums."""
    if machine_path().name != "kernel":
        pytest.skip("the kernels are not in use")
    logits = np.zeros((3, 6, 3), np.float32)
    logits[0, :, 0] = 1000.0  # only blanks, and a label is to be said
    logits[1, :3, 2], logits[1, 3:, 1] = 1000.0, 1000.0  # the labels the other way round
    targets = CTCLoss.pack([[1], [1, 2], [2]], [6, 6, 6])
    loss, gradient = loss_and_gradient(logits, targets)
    assert loss[0] == pytest.approx(1000 - np.log(6), rel=1e-6)
    assert 1000 < loss[1] < 6000 and np.isfinite(gradient).all()
    assert gradient[0, :, 1] == pytest.approx([-1 / 6] * 6, rel=1e-4)
    assert np.abs(gradient.sum(axis=-1)).max() < 1e-4
    assert gradient[0].sum() == pytest.approx(0, abs=1e-5)


def test_kernel_refuses_and_bears():
    if machine_path().name != "kernel":
        pytest.skip("the kernels are not in use")
    logits = np.zeros((2, 3, 4), np.float32)
    for wrong, words in (
        ([[4, 1], [1, 1]], "another number of frames"),
        ([[3, 4], [1, 1]], "a label is none of the columns"),
        ([[3, 1]], "wrong number of elements"),
    ):
        with pytest.raises(Exception, match=words):
            loss_and_gradient(logits, np.array(wrong, np.int32))
    targets = np.array([[1, 1, 2], [0, 0, 0]], np.int32)  # too few frames; none at all
    loss, gradient = loss_and_gradient(logits, targets)
    assert loss.tolist() == [np.inf, 0.0] and not gradient.any()
    logits[0, 0, 2] = np.nan
    loss, _ = loss_and_gradient(logits, np.array([[3, 1], [3, 1]], np.int32))
    assert np.isnan(loss[0]) and np.isfinite(loss[1])


def test_loss_and_gradient_by_enumeration(path):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (5, 6, 4)).astype(np.float32)
    targets, frames = [(1, 2), (3,), (2, 2), (), (1, 3, 1)], [6, 3, 5, 2, 4]
    loss = CTCLoss(reduction="none")
    packed = CTCLoss.pack(targets, frames)

    def wanted(x):
        x = x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
        rows = zip(x, targets, frames, strict=True)
        return np.array([-np.log(by_enumeration(row[:n])[labels]) for row, labels, n in rows])

    found = np.asarray(loss(packed, logits))
    np.testing.assert_allclose(found, wanted(logits.astype(np.float64)), rtol=1e-5)
    exact = logits - np.log(np.exp(logits.astype(np.float64)).sum(axis=-1, keepdims=True))
    parts = [row[:n] for row, n in zip(exact, frames, strict=True)]
    np.testing.assert_allclose(ctc_losses(parts, targets), wanted(exact), rtol=1e-9)
    noise = logits.copy()
    for row, n in zip(noise, frames, strict=True):
        row[n:] = rng.normal(0, 9, row[n:].shape)  # what lies behind the end does not count
    np.testing.assert_array_equal(np.asarray(loss(packed, noise)), found)
    assert float(CTCLoss()(packed, logits)) == pytest.approx(found.mean(), rel=1e-6)

    # A training step moves logits that are weights along the gradient.
    inputs = keras.Input((), dtype="int32")
    flat = keras.layers.Embedding(5, 24, weights=[logits.reshape(5, 24)])(inputs)
    model = keras.Model(inputs, keras.ops.reshape(flat, (-1, 6, 4)))
    model.compile(keras.optimizers.SGD(1.0), loss=CTCLoss())
    model.train_on_batch(np.arange(5), packed)
    gradient = (logits.reshape(5, 24) - model.get_weights()[0]).reshape(logits.shape)
    for at in [(0, 0, 1), (1, 2, 3), (2, 3, 0), (3, 1, 2), (4, 3, 3), (1, 4, 1)]:
        ends = []
        for sign in (1e-5, -1e-5):
            x = logits.astype(np.float64)
            x[at] += sign
            ends.append(wanted(x).mean())
        assert gradient[at] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=2e-6)


def test_loss_refuses_what_no_path_can_say():
    with pytest.raises(ValueError, match=r"target 1 .* needs 3 frames .* has 2"):
        CTCLoss.pack([(1,), (2, 2)], [1, 2])
    with pytest.raises(ValueError, match="0 is the blank"):
        CTCLoss.pack([(0,)], [3])
    with pytest.raises(ValueError, match="2 targets for 1"):
        CTCLoss.pack([(1,), (2,)], [3])
    assert CTCLoss.from_config(CTCLoss(name="c").get_config()).name == "c"


def slow_distance(a, b):
    if not a or not b:
        return len(a) + len(b)
    rest = slow_distance(a[1:], b[1:]) + (a[0] != b[0])
    return min(rest, slow_distance(a[1:], b) + 1, slow_distance(a, b[1:]) + 1)


@settings(max_examples=60, deadline=None)
@given(st.text("abc", max_size=5), st.text("abc", max_size=5))
def test_edit_distance_by_definition(a, b):
    assert edit_distance(a, b) == slow_distance(a, b)


def test_error_rates_by_hand():
    # One word of five inserted, one substituted; 3 + 1 characters + one space of 19.
    rates = error_rates(["one  two six", "four file"], ["one two", "four five ok"][:2])
    assert rates == {"wer": 3 / 5, "cer": (4 + 1 + 3) / (7 + 12)}
    assert np.isnan(error_rates([""], [""])["wer"])
    with pytest.raises(ValueError, match="2 transcripts for 1"):
        error_rates(["a", "b"], ["a"])
