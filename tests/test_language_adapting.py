"""Dynamic evaluation: what comes next, by weights that know what was before."""

from __future__ import annotations

import signal
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import pytest

from longshort._errors import DataError
from longshort.tasks import LanguageModel, _language_adapting
from longshort.tasks._language_adapting import LENGTH, adapted_loss
from longshort.tasks._language_scoring import Scorer
from longshort.tasks._token_loss import as_it_is
from test_language_model import LINES, TEXT, chars, net_of, words

__all__ = ["chars", "words"]  # fixtures


def test_adapted_loss_is_of_what_comes_next() -> None:
    """A part is scored by weights that know nothing of it; later ones by weights that do."""
    net = net_of()
    rng = np.random.default_rng(0)
    ids = np.tile(rng.integers(4, 11, size=9), 30)
    ends = [1, 2, LENGTH, LENGTH + 1, LENGTH + 8, 2 * LENGTH + 1, len(ids)]
    static = [-Scorer(net).log_probabilities([ids[:end]])[0].sum() for end in ends]
    before = [np.array(weight) for weight in map(keras.ops.convert_to_numpy, net.model.weights)]
    found = [adapted_loss(net, [ids[:end]], 0.02) for end in ends]
    np.testing.assert_allclose(found[:4], static[:4], rtol=1e-5, atol=1e-6)
    # One step of Adam on the first part, and then the second with the state carried on.
    other = net_of()
    other.model.set_weights(before)
    model = other.trainer(1, LENGTH)
    model.compile(keras.optimizers.Adam(0.02, beta_2=0.99, global_clipnorm=1.0), loss=as_it_is)
    other.stack.reset_state(1)
    model.train_on_batch([ids[None, :LENGTH], ids[None, 1 : LENGTH + 1]], ids[None, :LENGTH])
    _, *states = net.scorer.predict_on_batch(
        [ids[None, :LENGTH], ids[None, :LENGTH], *net.zeros(1)]
    )
    rest = ids[None, LENGTH:-1][:, :LENGTH], ids[None, LENGTH + 1 :][:, :LENGTH]
    scores, *_ = other.scorer.predict_on_batch([*rest, *states])
    assert found[5] == pytest.approx(found[3] - float(scores.sum()), rel=1e-5)
    assert found[4] == pytest.approx(found[3] - float(scores[0, :7].sum()), rel=1e-5)
    assert found[-1] < 0.95 * static[-1]
    for weight, kept in zip(net.model.weights, before, strict=True):
        assert np.array_equal(keras.ops.convert_to_numpy(weight), kept)


def test_adapting_hears_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras swallows a KeyboardInterrupt where it waits for a loss."""
    net, seen = net_of(), []

    def step(*_: Any) -> float:
        seen.append(signal.raise_signal(signal.SIGINT))
        return 1.0

    monkeypatch.setattr(_language_adapting, "training_steps", lambda _: nullcontext(step))
    with pytest.raises(KeyboardInterrupt):
        adapted_loss(net, [np.arange(4, 10)] * 9, 0.01)
    assert len(seen) == 1


def test_evaluate_adapts(chars: LanguageModel, words: LanguageModel) -> None:
    for model, text in ((chars, TEXT[:300]), (words, LINES * 2)):
        static = model.evaluate(text)
        adapted = model.evaluate(text, adapt_rate=0.1)
        assert adapted["nats_per_token"] < 0.95 * static["nats_per_token"]
        assert static == model.evaluate(text)  # the weights are what they were
        for name in ("num_tokens", "unknown_share", "unigram_nats", "bigram_nats"):
            assert adapted[name] == static[name]
        assert adapted["perplexity"] == pytest.approx(np.exp(adapted["nats_per_token"]))
        same = model.evaluate(text, adapt_rate=1e-9)["nats_per_token"]
        assert same == pytest.approx(static["nats_per_token"], rel=1e-5)
    for rate in (-1, 2, "fast", None):
        with pytest.raises(DataError, match=r"evaluate: adapt_rate must be a number .*, or 0\."):
            chars.evaluate(TEXT, adapt_rate=rate)  # type: ignore[arg-type]
