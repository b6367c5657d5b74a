"""`Translator`: its network against one step at a time, digits read backwards, bad input."""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np
import pytest

from longshort._errors import DataError, FileFormatError
from longshort.data._vocabulary import BEGIN, END
from longshort.tasks import Alignment, Translator, load, plot_alignment
from longshort.tasks import _seq2seq_scoring as scoring
from longshort.tasks._cross_attention import KINDS
from longshort.tasks._seq2seq_net import Seq2SeqNet, Seq2SeqPlan
from longshort.tasks._seq2seq_pairs import Pairs, arrays, pair_batches
from longshort.tasks._seq2seq_scoring import Scorer
from longshort.tasks._token_loss import as_it_is
from longshort.tasks._training_steps import training_steps

QUICK: dict[str, Any] = {"unit": "word", "embedding_size": 4, "epochs": 1, "batch_size": 16}


def reversed_digits(n: int, seed: int) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, 10, rng.integers(1, 6)).astype(str) for _ in range(n)]
    return [" ".join(row) for row in rows], [" ".join(row[::-1]) for row in rows]


SOURCES, TARGETS = reversed_digits(900, 0)
NEW, WANTED = reversed_digits(40, 1)


@pytest.fixture(scope="module")
def task() -> Translator:
    settings = {"embedding_size": 32, "unit": "word", "epochs": 14, "learning_rate": 0.01}
    return Translator(64, attention="general", dropout=0.1, **settings).fit(SOURCES, TARGETS)


def softmax(x: np.ndarray) -> np.ndarray:
    exp = np.exp(x - x.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("feeding", [False, True])
@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.slow) if kind == "dot" else kind for kind in KINDS],
)
def test_scores_in_parts_alone_and_a_step_at_a_time(
    kind: str, feeding: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole targets, chunks with the state carried, and single steps with candidates agree."""
    net = Seq2SeqNet(Seq2SeqPlan(9, 11, False, 3, 6, 2, kind, feeding, dropout=0.5, seed=3))
    rng = np.random.default_rng(0)
    for variable in net.model.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    assert net.plan.num_weights() <= net.model.count_params()
    sources = [rng.integers(4, 9, n) for n in (3, 7, 1)]
    targets = [rng.integers(4, 11, n) for n in (6, 0, 3)]
    monkeypatch.setattr(scoring, "CHUNK", 4)
    scorer = Scorer(net)
    found = scorer.score(sources, targets)
    alone = scorer.score(sources[1:2], targets[1:2])[0]
    assert all(np.array_equal(a, b) for a, b in zip(found[1], alone, strict=True))
    # All in one batch, padded otherwise.
    source, given, following = np.zeros((3, 3, 8), np.int32)
    for i, (ids, wanted) in enumerate(zip(sources, targets, strict=True)):
        source[i, : len(ids)] = ids
        given[i, : len(wanted) + 1] = [BEGIN, *wanted]
        following[i, : len(wanted) + 1] = [*wanted, END]
    logits = np.asarray(net.model([source, given]), np.float64)
    whole = np.take_along_axis(np.log(softmax(logits)), following[..., None], axis=2)[..., 0]
    values, keys, *states = map(np.asarray, net.encoder(source))
    states = [np.repeat(state[:, None], 2, axis=1) for state in states]
    step = net.step(2)
    for t in range(7):
        tokens = np.stack([np.full(3, BEGIN), given[:, t]], axis=1)
        before = [np.repeat(state[:, 1:], 2, axis=1) for state in states]
        chances, weights, *states = map(
            np.asarray, step([tokens, values, keys, source != 0, *before])
        )
        for i, (scores, attention) in enumerate(found):
            if t < len(scores):
                np.testing.assert_allclose(scores[t], whole[i, t], rtol=1e-4, atol=1e-5)
                one = chances[i, 1, following[i, t]]
                np.testing.assert_allclose(one, scores[t], rtol=1e-4, atol=1e-5)
                np.testing.assert_allclose(
                    weights[i, 1, : len(sources[i])], attention[t], rtol=1e-4, atol=1e-5
                )


def test_input_feeding_reads_the_step_before(tmp_path: Any) -> None:
    """Without weights for what is fed it is the usual network; with them after the first step."""
    usual, fed = (
        Seq2SeqNet(Seq2SeqPlan(9, 9, True, 3, 6, 1, "dot", feeding, dropout=0.0, seed=3))
        for feeding in (False, True)
    )
    kernel = fed.decoders[0].get_weights()[0]
    assert kernel.shape == (6, 24)
    shared = ("embedding", "encoders", "bridges", "decoders", "combine")
    layers = [keras.tree.flatten([getattr(net, name) for name in shared]) for net in (usual, fed)]
    for ours, theirs in zip(*layers, strict=True):
        if ours is not usual.decoders[0]:
            theirs.set_weights(ours.get_weights())
    first, *others = usual.decoders[0].get_weights()
    given = [np.array([[5, 4, 8]], np.int32), np.array([[BEGIN, 7, 4]], np.int32)]
    found = []
    for below in (np.zeros_like(first), kernel[3:]):
        fed.decoders[0].set_weights([np.concatenate([first, below]), *others])
        found.append(np.asarray(fed.model(given)))
    fed.model.save(tmp_path / "it.keras")
    again = keras.saving.load_model(tmp_path / "it.keras")
    np.testing.assert_array_equal(again(given), found[1])
    expected = np.asarray(usual.model(given))
    np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1][:, 0], expected[:, 0], rtol=1e-5, atol=1e-6)
    assert (np.abs(found[1] - expected)[:, 1:].max(axis=-1) > 1e-4).all()


def test_gradient_through_input_feeding() -> None:
    """The loss changes along a random direction as its gradient says."""
    net = Seq2SeqNet(Seq2SeqPlan(9, 9, True, 3, 6, 1, "additive", True, dropout=0.0, seed=3))
    given = [np.array([[5, 4, 8], [6, 0, 0]], np.int32)]
    given += [np.array(each, np.int32) for each in ([[2, 7, 4], [2, 8, 0]], [[7, 4, 3], [8, 3, 0]])]
    variables = net.trainer.trainable_variables
    rng = np.random.default_rng(0)
    for variable in variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    start = [keras.ops.convert_to_numpy(variable) for variable in variables]
    along = [rng.normal(size=each.shape) for each in start]

    def loss(share: float) -> float:
        for variable, at, by in zip(variables, start, along, strict=True):
            variable.assign(at + share * by)
        return float(np.asarray(net.trainer(given))[0])

    expected = (loss(1e-2) - loss(-1e-2)) / 2e-2
    loss(0.0)
    net.trainer.compile(keras.optimizers.SGD(1.0), loss=as_it_is)
    with training_steps(net.trainer) as step:
        step(given, given[2])
    moved = [at - keras.ops.convert_to_numpy(v) for at, v in zip(start, variables, strict=True)]
    found = sum(float((by * m).sum()) for by, m in zip(along, moved, strict=True))
    assert found == pytest.approx(expected, rel=1e-2)


def test_input_feeding_learns(tmp_path: Any) -> None:
    settings = {"embedding_size": 32, "unit": "word", "epochs": 14, "learning_rate": 0.01}
    model = Translator(32, input_feeding=True, dropout=0.1, **settings).fit(SOURCES, TARGETS)
    found = model.n_best(NEW, 2)
    assert np.mean([a[0][0] == b for a, b in zip(found, WANTED, strict=True)]) > 0.9
    model.save(tmp_path / "it.longshort")
    assert load(tmp_path / "it.longshort").n_best(NEW[:1], 2) == found[:1]


def test_batches_hold_each_pair_once_within_their_memory() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 2_000, 300)
    batches = pair_batches(lengths, 64, rng)
    assert sorted(np.concatenate([b.rows for b in batches])) == list(range(300))
    assert all(b.size * b.length**2 <= max(2**17, b.length**2) for b in batches)
    assert len({(b.size, b.length) for b in batches}) < 40
    pairs = Pairs([np.array([5, 6, 7])], [np.array([8])])
    (batch,) = pair_batches(pairs.lengths, 1, rng)
    source, target, following = arrays(pairs, batch)
    assert source.tolist() == [[5, 6, 7]]
    assert target.tolist() == [[BEGIN, 8, 0]] and following.tolist() == [[8, END, 0]]


def test_it_learns_to_read_backwards(task: Translator) -> None:
    found = task.translate(NEW)
    assert np.mean([a == b for a, b in zip(found, WANTED, strict=True)]) > 0.95
    best = task.n_best(NEW[:3], 4)
    assert [one[0][0] for one in best] == found[:3]
    for one in best:
        scores = [score for _, score in one]
        assert len(one) == 4 and scores == sorted(scores, reverse=True)
    (free, bound) = (task.translate(["2 2 2 2"], no_repeat_ngram_size=n)[0] for n in (0, 3))
    assert free == "2 2 2 2" and bound != free  # the second run of three
    assert len(task.translate(["1 2 3 4 5"], max_length=3)[0].split()) <= 2


def test_alignment_is_the_other_diagonal(task: Translator) -> None:
    found = task.align("1 7 3")
    assert found.source == ["1", "7", "3"] and found.target == ["3", "7", "1"]
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, atol=1e-5)
    assert found.weights.argmax(axis=1).tolist() == [2, 1, 0]
    given = task.align("1 7 3", "7 7")
    assert given.target == ["7", "7"] and given.weights.shape == (2, 3)
    figure = plot_alignment(found, title="digits")
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["1", "7", "3"]
    for bad in (3, Alignment([], ["a"], np.zeros((1, 0), np.float32))):
        with pytest.raises(DataError, match="plot_alignment"):
            plot_alignment(bad)


def test_alone_in_any_batch_and_after_save(task: Translator, tmp_path: Any) -> None:
    options = {"coverage_penalty": 0.1, "beam_size": 5}
    together = task.n_best(NEW, 5, **options)
    for i in (0, 7, 39):
        assert task.n_best(NEW[i : i + 1], 5, **options) == together[i : i + 1]
    task.save(tmp_path / "it.longshort")
    again = load(tmp_path / "it.longshort")
    assert again.n_best(NEW[::-1], 5, **options) == together[::-1]


def test_scores(task: Translator) -> None:
    pytest.importorskip("sacrebleu")
    scores = task.evaluate(NEW, WANTED)
    assert scores["bleu"] > 90 and scores["chrf"] > 90 and scores["unknown_share"] == 0
    assert scores["perplexity"] == pytest.approx(np.exp(scores["nats_per_token"]))
    worse = task.evaluate(NEW, NEW[::-1])
    assert worse["bleu"] < 50 and worse["nats_per_token"] > 1
    assert task.evaluate(["", *NEW], ["x", *WANTED])["unknown_share"] > 0


def test_scores_need_sacrebleu(task: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ImportError, match="pip install"):
        task.evaluate(NEW, WANTED)


def test_empty_unknown_and_very_long_sources(task: Translator) -> None:
    assert task.n_best(["", " ", "4 2"])[:2] == [[("", 0.0)]] * 2
    assert task.align("").weights.shape[1] == 0
    with pytest.warns(UserWarning, match=r"texts\[1\] holds no token that occurred.*1 such"):
        task.translate(["1", "what else"])
    with pytest.warns(UserWarning, match=r"texts\[0\] has 5000 tokens, the longest .* 5"):
        (found,) = task.translate(["1 2 3 4 5 " * 1000], max_length=8)
    assert len(found.split()) <= 7


@pytest.mark.parametrize(
    ("sources", "targets", "message"),
    [
        ("a b", ["a"], "sources: expected a list of texts, got a str"),
        (["a", None], ["a", "b"], r"sources\[1\]: the text is missing"),
        (["a", "b"], ["a", 3], r"targets\[1\]: expected a str, got a int"),
        (["a", "b"], ["a"], "expected as many texts in each, got 2 and 1"),
        (["a", "b"], ["a", " "], r"targets\[1\]: the text is empty"),
        ([], [], "sources: expected at least one text"),
        (["a a a", "b b b"], ["a a a", "b b b"], "more than max_length=2 tokens"),
    ],
)
def test_texts_that_cannot_be_used(sources: Any, targets: Any, message: str) -> None:
    model = Translator(4, min_count=1, max_length=2, validation_split=0, **QUICK)
    with pytest.raises(DataError, match=message):
        model.fit(sources, targets)


def test_parameters_that_cannot_be_used(task: Translator) -> None:
    bad = {"units": 3, "attention": "x", "unit": "y", "epochs": 0, "clip_norm": -1.0}
    with pytest.raises(DataError, match="epochs.*unit must be.*attention must.*clip_norm"):
        Translator(**bad).fit(SOURCES, TARGETS)
    with pytest.raises(DataError, match="validation sources and .*: expected a pair of lists"):
        Translator(4, **QUICK).fit(SOURCES, TARGETS, validation_data=["a"])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="units must be even.*got 3"):
        Translator(3).fit(SOURCES, TARGETS)
    with pytest.raises(DataError, match="beam_size must.*length_penalty must"):
        task.translate(NEW, beam_size=0, length_penalty=-1)
    with pytest.raises(DataError, match="n must be a whole number from 1 to 2, got 3"):
        task.n_best(NEW, 3, beam_size=2)
    with pytest.raises(DataError, match="source: expected a str"):
        task.align(3, "a")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="got 40 and 39"):
        task.evaluate(NEW, WANTED[:-1])


def test_two_vocabularies_and_a_damaged_file(tmp_path: Any) -> None:
    """Long pairs are left out, letters become words, and each side has its own tokens."""
    sources = ["a", "b", "a b"] * 8 + ["a " * 30]
    targets = ["x", "y", "x y"] * 8 + ["x"]
    held = (["a"], ["x"])
    model = Translator(4, joint=False, max_length=20, attention="dot", num_layers=2, **QUICK)
    with pytest.warns(UserWarning, match="1 of 25 pairs have more than max_length=20"):
        model.fit(sources, targets, validation_data=held)
    assert model.num_held_out_ == 1 and len(model.history_) == 1
    assert model.source_vocabulary_.tokens[4:] == ["a", "b"]
    assert model.target_vocabulary_.tokens[4:] == ["x", "y"]
    model.save(tmp_path / "it.longshort")
    assert load(tmp_path / "it.longshort").n_best(["a b"]) == model.n_best(["a b"])
    whole = (tmp_path / "it.longshort").read_bytes()
    (tmp_path / "cut.longshort").write_bytes(whole[: len(whole) // 2])
    state = model._get_state()
    for bad in ({"sizes": [6, 9]}, {"vocabularies": []}, {"longest": "x"}, {"history": 3}):
        with pytest.raises((ValueError, TypeError)):
            model._set_state(state | bad)
    with pytest.raises(ValueError, match="sizes"):
        model._least_bytes(state | {"sizes": [1, 2]})
    with pytest.raises(FileFormatError, match="cut off"):
        load(tmp_path / "cut.longshort")


def test_subwords_and_time(tmp_path: Any) -> None:
    pytest.importorskip("sentencepiece")
    sources = ["ein Haus", "das Haus", "ein Baum", "der Baum"] * 4
    targets = ["a house", "the house", "a tree", "the tree"] * 4
    given = {"embedding_size": 4, "vocabulary_size": 300, "batch_size": 8, "validation_split": 0}
    model = Translator(4, max_minutes=1e-9, **given).fit(sources, targets)
    assert len(model.history_) == 1  # a step, and the time was over
    assert model.source_vocabulary_ is model.target_vocabulary_
    assert isinstance(model.translate(["ein Дом"], max_length=4)[0], str)
