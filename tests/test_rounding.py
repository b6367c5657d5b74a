"""Products in bfloat16 for a while: what they change, where they end, and who asks for them."""

from __future__ import annotations

import warnings
from typing import Any

import longshort  # isort: skip  # noqa: F401  before Keras: it chooses the backend
import keras
import numpy as np
import pytest

from longshort import DataError, PathWarning
from longshort.layers import LSTM
from longshort.ops import _rounding as rounding
from longshort.ops import gru, lstm, slstm
from longshort.ops._rounding import products_in, rounds, usable_precision
from longshort.tasks import (
    LanguageModel,
    SequenceClassifier,
    Tagger,
    TextClassifier,
    Transcriber,
    Translator,
    _training_steps,
)
from longshort.tasks._training_steps import training_steps

RNG = np.random.default_rng(0)
INFO = longshort.ops.info()
ROUNDS = INFO["path"] == "kernel" and INFO["instruction_set"] in ("amx", "avx512_bf16")
TEXT = "How much wood would a woodchuck chuck? " * 20
SMALL: dict[str, Any] = {"units": 16, "epochs": 2, "sequence_length": 8, "batch_size": 4}


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def as_bfloat16(x: np.ndarray) -> np.ndarray:
    return np.asarray(keras.ops.cast(keras.ops.cast(x, "bfloat16"), "float32"))


X, W, U, HEADS = as_bfloat16(normal(3, 5, 6)), normal(6, 16), normal(4, 16), normal(1, 4, 16)
LAYERS = {
    "lstm": lambda x: lstm(x, W, U),
    "gru": lambda x: gru(x, W[:, :12], U[:, :12]),
    "slstm": lambda x: slstm(x, W, HEADS),
}
INPUTS = normal(3, 5, 6)


@pytest.mark.parametrize("name", list(LAYERS))
def test_layers_round_what_they_do_of_inputs_in_bfloat16(name: str) -> None:
    """The inputs being of bfloat16 already, only the type of the results is another."""
    run = LAYERS[name]
    wanted = run(keras.ops.cast(X, "bfloat16"))[0]
    outside = run(X)[0]
    with products_in("bfloat16"):
        found = run(X)[0]
        with products_in("float32"):
            np.testing.assert_array_equal(run(X)[0], outside)
    assert found.dtype == "float32"
    np.testing.assert_array_equal(keras.ops.cast(found, "bfloat16"), wanted)
    assert (np.asarray(found) != np.asarray(outside)).any() == ROUNDS
    np.testing.assert_array_equal(run(X)[0], outside)


def test_float64_is_not_rounded() -> None:
    with products_in("bfloat16"):
        assert rounds("float32") and rounds("bfloat16") and not rounds("float64")
    assert not rounds("float32") and rounds("bfloat16")


def trained(precision: str) -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((None, 6)), LSTM(4), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    losses = []
    with training_steps(model, precision) as step:
        for length in (5, 3):  # compiled twice
            losses.append(step(INPUTS[:, :length], np.ones((3, 1), np.float32)))
    return model, losses


def test_training_steps_are_rounded_and_nothing_else() -> None:
    model, losses = trained("bfloat16")
    _, exact = trained("float32")
    np.testing.assert_allclose(losses, exact, rtol=0.02)
    assert (losses != exact) == ROUNDS
    found = np.asarray(model(INPUTS))
    with products_in("float32"):
        np.testing.assert_array_equal(found, model(INPUTS))
    with products_in("bfloat16"):
        assert (found != np.asarray(model(INPUTS))).any() == ROUNDS
    np.testing.assert_allclose(model.predict(INPUTS, verbose=0), found, rtol=1e-5)


def test_without_the_instructions_it_is_float32_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert usable_precision("float32") == "float32"
    monkeypatch.setattr(rounding._library, "isa", lambda: "avx2")
    with pytest.warns(PathWarning, match="float32, not in bfloat16: the instruction set is avx2"):
        assert usable_precision("bfloat16") == "float32"
    monkeypatch.setattr(
        rounding, "machine_path", lambda: longshort.ops.Path("keras", "JAX runs on gpu")
    )
    with pytest.warns(PathWarning, match="not in bfloat16: JAX runs on gpu"):
        assert usable_precision("bfloat16") == "float32"
    with pytest.warns(PathWarning, match="float32, not in bfloat16"):
        model = LanguageModel(precision="bfloat16", **SMALL).fit(TEXT)
    exact = LanguageModel(**SMALL).fit(TEXT)
    np.testing.assert_array_equal(model.score(TEXT), exact.score(TEXT))


SOURCES = [f"{a} {b}" for a in "abcd" for b in "abcd"] * 2
SOUNDS = [np.sin(np.arange(4_000) * pitch).astype(np.float32) for pitch in (0.3, 1.0)] * 4
SOUNDS_IN_STEPS = [sound[:200].reshape(20, 10) for sound in SOUNDS]
TRAINED: dict[str, Any] = {
    "language": lambda **given: LanguageModel(**SMALL, **given).fit(TEXT),
    "translate": lambda **given: Translator(
        8, embedding_size=8, unit="word", epochs=2, input_feeding=True, **given
    ).fit(SOURCES, SOURCES),
    "text": lambda **given: TextClassifier(8, epochs=2, num_members=1, **given).fit(
        SOURCES, ["even", "odd"] * 16
    ),
    "classify": lambda **given: SequenceClassifier(8, epochs=2, **given).fit(
        SOUNDS_IN_STEPS, ["low", "high"] * 4
    ),
    "tag": lambda **given: Tagger(8, char_units=4, epochs=2, validation_split=0, **given).fit(
        [source.split() for source in SOURCES], [source.upper().split() for source in SOURCES]
    ),
    "transcribe": lambda **given: Transcriber(8, epochs=2, num_mels=20, channels=8, **given).fit(
        SOUNDS, ["low", "high"] * 4, sample_rate=8_000
    ),
}


@pytest.mark.filterwarnings("ignore:Transcriber. the network says nothing")
@pytest.mark.filterwarnings("ignore:longshort. this trains in float32")
@pytest.mark.parametrize("name", list(TRAINED))
def test_tasks_are_trained_by_rounded_products(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entered = []
    within = _training_steps.products_in
    monkeypatch.setattr(
        _training_steps, "products_in", lambda each: entered.append(each) or within(each)
    )
    losses = [TRAINED[name](precision=each).history_ for each in ("float32", "bfloat16")]
    wanted = ["float32", "bfloat16"] if ROUNDS else ["float32"]
    assert list(dict.fromkeys(entered)) == wanted
    assert (losses[0] != losses[1]) == ROUNDS
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.01)


def test_results_are_float32() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PathWarning)
        model = LanguageModel(precision="bfloat16", **SMALL).fit(TEXT)
    exact = LanguageModel(**SMALL).fit(TEXT)
    exact.model_.set_weights(model.model_.get_weights())
    np.testing.assert_array_equal(model.score(TEXT), exact.score(TEXT))


@pytest.mark.parametrize("wrong", ["float16", None, 32])
@pytest.mark.parametrize("name", list(TRAINED))
def test_other_words(name: str, wrong: Any) -> None:
    words = "precision must be one of 'float32', 'bfloat16', got"
    with pytest.raises(DataError, match=words):
        TRAINED[name](precision=wrong)
