"""Tones for words: a transcriber learns which ones a recording has, and in which order."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from longshort._errors import DataError, NotFittedError
from longshort.tasks import Transcriber, _transcriber, load
from longshort.tasks._alphabet import Alphabet
from longshort.tasks._ctc_decoding import PrefixBeam, best_path, ctc_losses
from longshort.tasks._member_training import member_seed
from longshort.tasks._ngram import NGram
from longshort.tasks._scores import log_softmax
from longshort.tasks._transcriber_training import Utterances, label_log_probs

RATE = 8_000
HERTZ = {"low": 400, "mid": 1_000, "high": 2_500}


def recording(words, rng, rate=RATE):
    parts = [rng.normal(0, 0.02, int(rng.integers(300, 900)) * rate // RATE)]
    for word in words:
        t = np.arange(int(rng.integers(900, 1_500)) * rate // RATE) / rate
        parts.append(0.3 * np.sin(2 * np.pi * HERTZ[word] * rng.normal(1, 0.03) * t))
        parts.append(rng.normal(0, 0.02, int(rng.integers(500, 900)) * rate // RATE))
    return np.concatenate(parts).astype(np.float32)


def recordings(n, seed, rate=RATE):
    rng = np.random.default_rng(seed)
    said = [[str(w) for w in rng.choice(list(HERTZ), rng.integers(1, 3))] for _ in range(n)]
    return [recording(words, rng, rate) for words in said], [" ".join(words) for words in said]


AUDIO, TEXTS = recordings(48, 0)
NEW, SAID = recordings(24, 1)


def small(**more):
    given = {"unit": "word", "sample_rate": RATE, "validation_split": 0, "epochs": 24}
    given |= {"units": 32, "channels": 16, "num_mels": 20, "reduction": 4, "augment": False}
    return Transcriber(**(given | {"learning_rate": 0.01} | more))


@pytest.fixture(scope="module")
def forward():
    return small(bidirectional=False, ngram=2).fit(AUDIO, TEXTS)


def test_few_recordings_a_step_get_small_steps(monkeypatch):
    rates = []

    def spy(*args, learning_rate, **more):
        rates.append(learning_rate)
        raise KeyboardInterrupt

    monkeypatch.setattr(_transcriber, "train_members", spy)
    for given in (
        {"batch_size": 4},
        {"batch_size": 4, "learning_rate": 0.02},
        {},
        {"batch_size": 99},
    ):
        with pytest.raises(KeyboardInterrupt):
            small(**{"learning_rate": None} | given).fit(AUDIO[:16], TEXTS[:16])
    assert rates == pytest.approx([0.0015, 0.02, 0.003 * (2 / 16) ** 0.5, 0.003])


def test_it_learns_and_scores(forward):
    scores = forward.evaluate(NEW, SAID)
    assert scores["wer"] < 0.1 and scores["exact"] > 0.8 and scores["silent"] == 0
    found = forward.predict(NEW)
    assert scores["exact"] == np.mean([a == b for a, b in zip(found, SAID, strict=True)])
    assert set(forward.alphabet_) == set(HERTZ) and forward.sample_rate_ == RATE
    worse = forward.evaluate(NEW, [text + " never" for text in SAID])
    assert worse["exact"] == 0 and worse["wer"] > 0.2


def test_other_rates_integers_and_the_beam(forward):
    audio, texts = recordings(12, 3, 16_000)
    scores = forward.evaluate(audio, texts, sample_rate=16_000, beam_size=8)
    assert scores["wer"] < 0.15
    whole = [np.round(x * 2**15).astype(np.int16) for x in NEW]
    same = [a == b for a, b in zip(forward.predict(whole), forward.predict(NEW), strict=True)]
    assert np.mean(same) > 0.9
    best = forward.n_best(NEW[:3], 4, beam_size=8, ngram_weight=0.0)
    assert [one[0][0] for one in best] == forward.predict(NEW[:3], beam_size=8, ngram_weight=0.0)
    for one in best:
        scores = [score for _, score in one]
        assert scores == sorted(scores, reverse=True) and len({text for text, _ in one}) == len(one)
    heavy = forward.predict(NEW[:6], beam_size=8, bonus=-50.0)
    assert heavy == [""] * 6  # each label costs more than the sound can give


@pytest.mark.filterwarnings("ignore:Transcriber. the network says nothing")
def test_alone_in_any_batch_and_after_save(forward, tmp_path):
    both = small(epochs=2, validation_split=0.3)
    both.fit(AUDIO[:16], TEXTS[:16])
    assert both.num_held_out_ == 5
    for task in (forward, both):
        task.save(tmp_path / "task.longshort")
        again = load(tmp_path / "task.longshort")
        together = again._log_probs(NEW, None)
        for i in (0, 7, 19):
            np.testing.assert_array_equal(task._log_probs(NEW[i : i + 1], None)[0], together[i])
        for options in ({}, {"beam_size": 4}):
            assert again.predict(NEW[::-1], **options) == task.predict(NEW, **options)[::-1]


@pytest.mark.parametrize("size", [1, 77, 1_000, 100_000])
def test_a_stream_ends_with_the_text_of_the_whole(forward, size):
    wanted, rng = forward.predict(NEW[:3]), np.random.default_rng(size)
    for x, text in zip(NEW[:3] if size > 1 else NEW[:1], wanted, strict=False):
        stream, at, grown = forward.stream(), 0, [""]
        while at < len(x):
            step = size if size < 1_000 else int(rng.integers(1, size))
            grown.append(stream.push(x[at : at + step]))
            at += step
        assert stream.end() == stream.text == text
        assert all(b.startswith(a) for a, b in zip(grown, grown[1:], strict=False))
        assert stream.real_time_factor > 0
        with pytest.raises(DataError, match="has ended"):
            stream.push(x)
    beam = forward.stream(beam_size=4, ngram_weight=0.2)
    for part in np.array_split(NEW[0], 5):
        beam.push(part)
    assert beam.end() == forward.predict(NEW[:1], beam_size=4, ngram_weight=0.2)[0]


@pytest.fixture(scope="module")
def two():
    return small(num_members=2, epochs=14, ngram=2, dropout=0).fit(AUDIO, TEXTS)


@pytest.mark.slow
def test_members_are_trained_as_if_alone(two, tmp_path, monkeypatch):
    assert len(two.model_.outputs) == 2 and len(two.history_) == 14
    sounds = two._scaler.transform(two._features(NEW, RATE, two._mel(RATE), "audio"))
    alone = small(seed=member_seed(1, 1), epochs=14, dropout=0).fit(AUDIO, TEXTS)
    (one,) = label_log_probs(alone.model_, sounds, 4)
    together = label_log_probs(two.model_, sounds, 4)
    for p, q in zip(one, together[1], strict=True):
        np.testing.assert_allclose(p, q, atol=1e-3)
    assert not np.allclose(together[0][0], together[1][0], atol=0.1)
    state = two._get_state()
    assert two._least_bytes(state) == 2 * two._least_bytes({**state, "num_members": 1})
    for number in (0, 10**6, 1.5):
        with pytest.raises(ValueError, match="num_members"):
            two._least_bytes({**state, "num_members": number})
    two.save(tmp_path / "two")
    again = load(tmp_path / "two")
    assert again.predict(NEW) == two.predict(NEW)
    for one, text in zip(NEW[:5], two.predict(NEW), strict=False):
        assert again.predict([one]) == [text]
    monkeypatch.setattr(two, "bidirectional", False)
    with pytest.raises(DataError, match="several networks, which are heard to the end"):
        two.stream()


def test_members_take_the_text_that_all_find_most_probable(two, monkeypatch):
    """By its definition: all texts that a member's path or beam ends with, and all their scores."""
    search = {"beam_size": 4, "ngram_weight": 0.3, "bonus": 0.2}
    rng = np.random.default_rng(0)
    log_probs = [  # so unsure that they disagree
        tuple(log_softmax(p / 3 + rng.normal(0, 0.8, p.shape)) for p in each)
        for each in two._log_probs(NEW, RATE)
    ]
    monkeypatch.setattr(two, "_log_probs", lambda *_: log_probs)
    found, texts = two.n_best(NEW, 3, **search), two.predict(NEW)
    assert [best[0][0] for best in found] == two.predict(NEW, **search)
    assert any(len({best_path(p) for p in each}) > 1 for each in log_probs)
    for each, text, best in zip(log_probs, texts, found, strict=True):
        said = {best_path(p) for p in each}
        mean = {labels: -np.mean([ctc_losses([p], [labels])[0] for p in each]) for labels in said}
        assert two._tokens.decode(max(mean, key=mean.get)) == text
        said = set()
        for p in each:
            beam = PrefixBeam(4, two._ngram, weight=0.3, bonus=0.2)
            beam.push(p)
            said |= {labels for labels, _ in beam.best()}
        scores = {}
        for labels in said:
            whole = (*labels, 0)
            model = sum(two._ngram(labels[:i])[k] for i, k in enumerate(whole))
            network = -np.mean([ctc_losses([p], [labels])[0] for p in each])
            scores[two._tokens.decode(labels)] = network + 0.3 * model + 0.2 * len(labels)
        expected = sorted(scores.items(), key=lambda one: -one[1])[:3]
        assert [text for text, _ in best] == [text for text, _ in expected]
        np.testing.assert_allclose([s for _, s in best], [s for _, s in expected], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "both", "seed"), [(1, False, 5), (2, True, 2)])
def test_other_depths_and_seeds_learn_as_soon(layers, both, seed):
    task = small(num_layers=layers, bidirectional=both, seed=seed, epochs=16)
    assert task.fit(AUDIO, TEXTS).evaluate(NEW, SAID)["wer"] < 0.1


def test_a_network_that_says_nothing_is_told_of(forward, monkeypatch):
    module = "longshort.tasks._transcriber.label_log_probs"
    blanks = np.log(np.full((5, 4), [0.7, 0.1, 0.1, 0.1]))
    for silent, count in ((20, 1), (16, 0)):
        paths = [blanks] * silent + [blanks[:, ::-1]] * (20 - silent)
        monkeypatch.setattr(module, lambda *_args, found=paths: [found])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            forward._warn_of_blanks(Utterances([[np.zeros((9, 20))]] * 20, [(1,)] * 20))
        assert ["says nothing for 100%" in str(w.message) for w in caught] == [True] * count


def test_characters_and_an_alphabet_of_ones_own():
    alphabet = Alphabet.of(["ab  ba", "c"], "char")
    assert alphabet.tokens == (" ", "a", "b", "c")
    assert alphabet.decode(alphabet.encode(" ab\tc ")) == "ab c"
    task = small(unit="char", alphabet="ab", epochs=1)
    with pytest.raises(DataError, match=r"audio\[1\]: its text 'abc' holds the characters 'c'"):
        task.fit(AUDIO[:2], ["ab", "abc"])
    word = small(alphabet=["low"], epochs=1)
    with pytest.raises(DataError, match="holds the words 'high', 'mid', which the alphabet of 1"):
        word.fit(AUDIO[:2], ["low", "mid low high"])


def test_an_ngram_by_hand_and_its_file():
    model = NGram(3, 3).fit([(1, 2), (1, 2), (1, 3)])
    for prefix in ((), (1,), (1, 2), (3, 3), (2, 1)):
        p = np.exp(model(prefix))
        assert p.sum() == pytest.approx(1) and (p > 0).all()
    again = NGram.from_state(3, 3, model.to_state())
    np.testing.assert_array_equal(again((1, 2)), model((1, 2)))
    with pytest.raises(ValueError, match="broken"):
        NGram.from_state(3, 3, [[1, 9, 2]])


@pytest.mark.parametrize(
    ("audio", "texts", "given", "message"),
    [
        (AUDIO[:2], TEXTS[:1], {}, "got 1 for 2"),
        ([], [], {}, "at least one recording"),
        (AUDIO[0], ["low"], {}, "expected a list of recordings, got one"),
        (AUDIO[:1], "low", {}, "expected a list of texts, got one"),
        (AUDIO[:2], ["low", None], {}, r"audio\[1\]: expected a text, got None"),
        (AUDIO[:2], ["", " "], {}, "all are empty"),
        ([AUDIO[0], np.zeros(0)], ["low", "mid"], {}, r"audio\[1\]: holds no samples"),
        ([AUDIO[0], np.zeros((9, 2))], ["low", "mid"], {}, r"audio\[1\]: expected one channel"),
        (AUDIO[:1], ["low"], {"sample_rate": None}, "pass sample_rate"),
        (["gone.wav"], ["low"], {}, "gone.wav: there is no such file"),
        ([AUDIO[0][:500]], ["low low"], {}, "needs 3 steps.* has 1 of 40 ms"),
        (AUDIO[:1], ["low"], {"num_members": 0}, "num_members must be a whole number from 1"),
        (AUDIO[:1], ["low"], {"reduction": 3}, "reduction must be one of"),
        (AUDIO[:1], ["low"], {"units": 0, "unit": "x"}, "units must .* unit must be one of"),
        (AUDIO[:1], ["low"], {"alphabet": ["a", "a"]}, "alphabet: Alphabet: expected different"),
        (AUDIO[:1], ["low"], {"num_mels": 300}, "300 bands are too many"),
    ],
)
def test_bad_input(audio, texts, given, message):
    pytest.importorskip("soundfile")
    with pytest.raises(DataError, match=message):
        small(**({"epochs": 1} | given)).fit(audio, texts)


def test_bad_input_later(forward):
    with pytest.raises(NotFittedError):
        small().stream()
    for given, message in (
        ({"beam_size": 0}, "beam_size must"),
        ({"beam_size": 2, "bonus": np.nan}, "bonus must be a finite number"),
        ({"bonus": 1.0}, "use a beam_size of 2 or more"),
        ({"ngram_weight": 0.5}, "use a beam_size of 2 or more"),
        ({"sample_rate": 8.5}, "whole hertz"),
    ):
        with pytest.raises(DataError, match=message):
            forward.predict(NEW[:1], **given)
    with pytest.raises(DataError, match="n from 1 to beam_size=2"):
        forward.n_best(NEW[:1], 3, beam_size=2)
    silence = np.random.default_rng(0).normal(0, 0.02, 4_000)
    assert forward.predict([silence, np.zeros(1)]) == ["", ""]
    strict = small(resample=False, epochs=1)
    strict.model_ = object()
    with pytest.raises(DataError, match="has no n-gram model"):
        strict.predict(NEW[:1], beam_size=4, ngram_weight=0.5)
    with pytest.raises(DataError, match=r"audio\[0\]: has 16000 samples a second.*resample=False"):
        strict.fit([np.zeros(3_000)], ["low"], sample_rate=16_000)
    whole = [{"bidirectional": False, "normalize": how} for how in ("loudness", "utterance")]
    for given in ({"bidirectional": True}, *whole):
        task = small(**given)
        task.model_ = object()
        with pytest.raises(DataError, match="needs the whole recording"):
            task.stream()


def test_equally_loud_recordings_are_the_same_to_it():
    task = small(normalize="loudness", epochs=1)
    with pytest.warns(UserWarning, match="says nothing"):
        task.fit(AUDIO[:8], TEXTS[:8], sample_rate=RATE)
    quiet = [0.01 * np.asarray(x) for x in NEW[:2]]
    for a, b in zip(task._log_probs(NEW[:2], RATE), task._log_probs(quiet, RATE), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)
    assert task.predict([np.zeros(4_000)], sample_rate=RATE) == task.predict([np.zeros(4_000)])
