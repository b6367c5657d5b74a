"""How good the transcriber is, on public recordings, beside published figures.

    python benchmarks/speech.py                # validation parts, cut from the training parts
    python benchmarks/speech.py yesno strings --seeds 1 2 3
    python benchmarks/speech.py --test         # the test parts, which are for one final measurement

Settings were tried on the validation parts; docs/design.md has what came out. The data lie in
../shared/data/speech or where LONGSHORT_DATA says; the rows go to results/speech.json or where
--json says.

- yesno: 60 recordings of eight words, of one speaker. Training on the first 30 by name, test on
  the last 30; validation: every third of the first 30.
- digits: FSDD, 2,500 recordings of one digit by five speakers. Test: numbers 0 to 4 of each digit
  and speaker; validation: numbers 5 to 9; training on the rest.
- speakers: FSDD, each speaker left out in turn, training on the four others. Validation: the one
  left out is not touched at all; the next of the others is scored, training on three.
- words: the same, each recording one of ten words: a `SequenceClassifier` of log-mel features that
  learns synthesised voices, too (`voices.py`; needs espeak-ng and flite). "Adapted": trained anew
  with half of the recordings of the speaker who was left out, labelled by the first classifier and
  by nobody else; the other half is scored; then the other way round.
- strings: digits of one speaker, 3 to 7 of them, joined with silence of 50 to 200 ms between, as
  nobody has said them. Test strings are of recordings of the test part, training strings of the
  training part, all as in digits.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import longshort  # isort: skip  # before Keras: it chooses the backend
import numpy as np

from longshort.data import LogMel, as_loud, read_audio, varied, with_slopes
from longshort.tasks import SequenceClassifier, Transcriber
from result_files import Rows, write
from voices import check_programs, synthesised

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("LONGSHORT_DATA", ROOT.parent / "shared" / "data")) / "speech"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RATE = 8_000
Part = tuple[list[Any], list[str]]  # recordings and what is said


@dataclass(frozen=True)
class Clip:
    """A recording of FSDD; its file is called digit_speaker_number.wav."""

    path: Path
    digit: int
    speaker: str
    number: int

    @classmethod
    def of(cls, path: Path) -> Clip:
        digit, speaker, number = path.stem.split("_")
        return cls(path, int(digit), speaker, int(number))


def fsdd() -> list[Clip]:
    return [Clip.of(path) for path in sorted((DATA / "fsdd").glob("*.wav"))]


def part(clips: list[Clip]) -> Part:
    return [c.path for c in clips], [WORDS[c.digit] for c in clips]


def split(clips: list[Clip], test: bool) -> tuple[list[Clip], list[Clip]]:
    """Return what to train on and what to score, by the recordings' numbers."""
    first = 0 if test else 5
    scored = [c for c in clips if first <= c.number < first + 5]
    return [c for c in clips if c.number >= first + 5], scored


def joined(clips: list[Clip], count: int, seed: int) -> Part:
    """Return so many strings of 3 to 7 digits, each of one speaker's recordings."""
    rng = np.random.default_rng(seed)
    sounds = {c.path: read_audio(c.path)[0] for c in clips}
    speakers = sorted({c.speaker for c in clips})
    audio, texts = [], []
    for i in range(count):
        own = [c for c in clips if c.speaker == speakers[i % len(speakers)]]
        chosen = [own[k] for k in rng.integers(len(own), size=rng.integers(3, 8))]
        pieces = []
        for c in chosen:
            pieces += [np.zeros(rng.integers(RATE // 20, RATE // 5), np.float32), sounds[c.path]]
        audio.append(np.concatenate([*pieces, np.zeros(RATE // 20, np.float32)]))
        texts.append(" ".join(WORDS[c.digit] for c in chosen))
    return audio, texts


def scored(data: str, given: argparse.Namespace, train: Part, score: Part, **options: Any) -> Rows:
    """Train with each seed; return a row of the means of the scores."""

    def transcribed(seed: int) -> dict[str, float]:
        model = Transcriber(unit="word", sample_rate=RATE, seed=seed, **options)
        start = time.perf_counter()
        model.fit(*train, progress=said)
        seconds = time.perf_counter() - start
        return {**model.evaluate(*score), "seconds": seconds}

    return row_of(data, given, len(score[0]), transcribed)


def classified(data: str, given: argparse.Namespace, train: list[Clip], score: list[Clip]) -> Rows:
    """The same where each recording is one word: those that are wrong are errors."""
    features = functools.cache(spectrum)
    heard = [(features(c.path), WORDS[c.digit]) for c in train] * REPEATED
    heard += [(MEL(as_loud(x, MEL.frame)), word) for x, word in synthesised(WORDS, RATE, VOICES)]

    def learnt(pairs: list[tuple[np.ndarray, str]], seed: int) -> SequenceClassifier:
        rng = np.random.default_rng(seed)
        copies = [(varied(x, rng), word) for _ in range(COPIES) for x, word in pairs]
        sounds, words = zip(*pairs, *copies, strict=True)
        sounds = [with_slopes(x) for x in sounds]
        return SequenceClassifier(seed=seed, **CLASSIFIER).fit(sounds, words, progress=said)

    def right(model: SequenceClassifier, clips: list[Clip]) -> float:
        sounds = [with_slopes(features(c.path)) for c in clips]
        words = [WORDS[c.digit] for c in clips]
        return model.evaluate(sounds, words)["accuracy"]

    @functools.cache
    def plain(seed: int) -> tuple[SequenceClassifier, float]:
        start = time.perf_counter()
        return learnt(heard, seed), time.perf_counter() - start

    def unheard(seed: int) -> dict[str, float]:
        model, seconds = plain(seed)
        accuracy = right(model, score)
        return {"wer": 1 - accuracy, "exact": accuracy, "seconds": seconds}

    def guessed(model: SequenceClassifier, clips: list[Clip]) -> list[tuple[np.ndarray, str]]:
        """Recordings that nobody labelled, with what the model is most sure of."""
        sounds = [features(c.path) for c in clips]
        p = model.predict_proba([with_slopes(x) for x in sounds])
        surest = np.argsort(-p.max(axis=1))[: int(SURE * len(clips))]
        return [(sounds[i], model.classes_[p[i].argmax()]) for i in surest] * GUESSED

    def adapted(seed: int) -> dict[str, float]:
        """Each half of the recordings is scored after the other was heard without its labels."""
        model, seconds = plain(seed)
        halves = [[c for c in score if c.number % 2 == k] for k in (0, 1)]
        start, accuracy = time.perf_counter(), 0.0
        for seen, unseen in (halves, halves[::-1]):
            again = learnt(heard + guessed(model, seen), seed + 100)  # other weights to begin with
            accuracy += right(again, unseen) / 2
        seconds += (time.perf_counter() - start) / 2  # guessing and scoring included
        return {"wer": 1 - accuracy, "exact": accuracy, "seconds": seconds}

    rows = row_of(data, given, len(score), unheard)
    return rows + row_of(f"{data}, adapted", given, len(score), adapted)


def spectrum(path: Path) -> np.ndarray:
    return MEL(as_loud(read_audio(path)[0], MEL.frame))


def row_of(
    data: str, given: argparse.Namespace, count: int, score: Callable[[int], dict[str, float]]
) -> Rows:
    """Return a row of the means over seeds."""
    found = []
    for seed in given.seeds:
        found.append(score(seed))
        print(
            f"  seed {seed}:", ", ".join(f"{k} {v:.4f}" for k, v in found[-1].items()), flush=True
        )
    row: dict[str, Any] = {"data": data, "part": "test" if given.test else "validation"}
    row |= {"model": "longshort", "recordings": count, "seeds": len(found)}
    for key in ("wer", "exact", "seconds"):
        row[key] = statistics.fmean(one[key] for one in found)
    row["wer worst"] = max(one["wer"] for one in found)
    return [row]


def yesno(given: argparse.Namespace) -> Rows:
    paths = sorted((DATA / "yesno").glob("*.wav"))
    train, score = paths[:30], paths[30:]
    if not given.test:
        train, score = [p for i, p in enumerate(train) if i % 3], train[::3]

    def pairs(part: list[Path]) -> Part:
        words = {"0": "no", "1": "yes"}
        return list(part), [" ".join(words[c] for c in p.stem.split("_")) for p in part]

    return scored("yesno", given, pairs(train), pairs(score), **YESNO)


def digits(given: argparse.Namespace) -> Rows:
    train, score = split(fsdd(), given.test)
    return scored("FSDD digits", given, part(train), part(score), **DIGITS)


def words(given: argparse.Namespace) -> Rows:
    return without_each(given, ", one of ten words", classified)


def speakers(given: argparse.Namespace) -> Rows:
    def transcribed(
        data: str, given: argparse.Namespace, train: list[Clip], score: list[Clip]
    ) -> Rows:
        return scored(data, given, part(train), part(score), **SPEAKERS)

    return without_each(given, "", transcribed)


def without_each(given: argparse.Namespace, kind: str, run: Callable[..., Rows]) -> Rows:
    """Leave out each speaker in turn; return their rows and those of the means."""
    clips = fsdd()
    names = sorted({c.speaker for c in clips})
    found: list[Rows] = []
    for i, out in enumerate(names):
        to_score = out if given.test else names[(i + 1) % len(names)]
        train = [c for c in clips if c.speaker not in (out, to_score)]
        score = [c for c in clips if c.speaker == to_score]
        found.append(run(f"FSDD without {out}{kind}", given, train, score))
    means: Rows = []
    for rows in zip(*found, strict=True):
        further = rows[0]["data"].removeprefix(f"FSDD without {names[0]}")
        mean = dict(rows[0]) | {"data": f"FSDD unseen speakers{further}, mean"}
        for key in ("wer", "exact", "seconds"):
            mean[key] = statistics.fmean(row[key] for row in rows)
        means.append(mean | {"wer worst": max(row["wer worst"] for row in rows)})
    return [row for rows in found for row in rows] + means


def strings(given: argparse.Namespace) -> Rows:
    train, score = split(fsdd(), given.test)
    training, scoring = joined(train, 1_000, seed=1), joined(score, 200, seed=2)
    return scored("FSDD joined strings", given, training, scoring, **STRINGS)


def said(epoch: int, epochs: int, loss: float) -> None:
    if epoch % 5 == 0 or epoch == epochs:
        print(f"  epoch {epoch} of {epochs}, error {loss:.4f}", flush=True)


# Thirty recordings are too few to hold some out: the number of epochs is fixed.
YESNO: dict[str, Any] = {
    "reduction": 4,
    "normalize": "utterance",
    "dropout": 0.5,
    "validation_split": 0,
}
DIGITS: dict[str, Any] = {"validation_split": 0, "num_members": 3}
# What is held out by chance has known speakers and says nothing about unseen ones. These differ by
# up to 25 dB in level, and with 40 bands the low ones see the single harmonics of a voice.
SPEAKERS: dict[str, Any] = {
    "epochs": 30,
    "validation_split": 0,
    "normalize": "loudness",
    "num_mels": 24,
}
# Without what lies below 125 Hz, the hum of the mains above all: it tells recordings apart.
MEL = LogMel(RATE, num_mels=24, hop=0.015, low=125.0, high=3900.0)
VOICES = 160  # of espeak-ng, to those who were recorded
REPEATED = 2  # each recording of theirs
COPIES = 3  # of each recording and repetition, each `varied` anew
SURE = 0.8  # of what is guessed is learnt when adapting,
GUESSED = 3  # and each so many times: it is little beside the rest
CLASSIFIER: dict[str, Any] = {
    "units": 64,
    "pooling": "attention",
    "input_dropout": 0.3,
    "dropout": 0.3,
    "label_smoothing": 0.1,
    "num_members": 5,
    "learning_rate": 0.004,
    "epochs": 3,
    "batch_size": 32,
    "validation_split": 0,
}
STRINGS: dict[str, Any] = {"reduction": 4, "epochs": 30}
SETS: dict[str, Callable[[argparse.Namespace], Rows]] = {
    "yesno": yesno,
    "digits": digits,
    "speakers": speakers,
    "words": words,
    "strings": strings,
}
PUBLISHED: Rows = [  # what others report
    {"data": "yesno", "part": "test", "model": "TDNN + CTC (icefall), under 30 s", "wer": 0.0042},
    {"data": "FSDD digits", "part": "random", "model": "CNN", "exact": 0.97},
]


def main() -> None:
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}; all if none")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--test", action="store_true", help="score the test parts")
    parser.add_argument(
        "--json", type=Path, default=ROOT / "benchmarks" / "results" / "speech.json"
    )
    given = parser.parse_args()
    if unknown := set(given.sets) - set(SETS):
        parser.error(f"unknown data {sorted(unknown)}; there are {', '.join(SETS)}")
    if "words" in (given.sets or SETS):
        check_programs()
    print("longshort:", ", ".join(f"{k} {v}" for k, v in longshort.ops.info().items()))
    rows: Rows = []
    for name in given.sets or SETS:
        print(name, flush=True)
        rows += SETS[name](given)
    names = {row["data"] for row in rows}
    shown = pd.DataFrame(rows + [p for p in PUBLISHED if p["data"] in names])
    print(shown.round(4).to_string(index=False, na_rep=""), flush=True)
    write(given.json, rows, PUBLISHED, ("data", "part"))


if __name__ == "__main__":
    main()
