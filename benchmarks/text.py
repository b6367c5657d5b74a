"""How good the text tasks are, on public data, beside published figures.

    python benchmarks/text.py                      # validation parts; hours on two cores
    python benchmarks/text.py sst2 trec --seeds 1 2 3
    python benchmarks/text.py sst2 trec --test     # test parts: to be scored once, at the end
    python benchmarks/text.py imdb --test --seeds 2 3 --add   # to the seeds that the file has

Settings are the defaults, but for trec's and shakespeare's. Without --test no test part is read:
scores are those of the validation part, on which training was stopped too, which makes them a
little too good; where a set has none, a fixed tenth of the training part is held out. With --test
the test part is only scored; where a set has no validation part, the task gets the whole training
part and holds a tenth out by itself, but trec and shakespeare are learnt whole. The data lie in
../shared/data or where LONGSHORT_DATA says.

- sst2, trec, imdb: TextClassifier, accuracy. SST-2 without the labels of phrases, no word vectors.
- ewt: Tagger, accuracy of the UPOS tags of English EWT. conll2000: Tagger, F1 of chunks from words
  alone; conll2000-pos: with the parts of speech that the shared task gives (from Brill's tagger).
- shakespeare: LanguageModel by characters, nats a character, by the trained weights and, as
  adapted_nats, by weights that go on learning from what they have scored. Test part: the last
  tenth; validation part: the tenth before it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import longshort  # isort: skip  # before Keras: it chooses the backend
import numpy as np
import pandas as pd

from longshort.data import read_conll, read_conllu, read_texts
from longshort.tasks import LanguageModel, Tagger, TextClassifier
from result_files import Rows, rows_of, write

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("LONGSHORT_DATA", ROOT.parent / "shared" / "data"))
RESULTS = Path(__file__).parent / "results" / "text.json"
# The best of three on the validation part (docs/design.md) that take a quarter of an hour.
LANGUAGE: dict[str, Any] = {"units": 768, "dropout": 0.4, "epochs": 8, "validation_split": 0}
# The best on ten parts of the training texts, each scored by a fit on the others (docs/design.md).
TREC: dict[str, Any] = {
    "lowercase": False,
    "embedding_dropout": 0.1,
    "num_members": 6,
    "learning_rate": 0.003,
    "epochs": 5,
    "validation_split": 0,
}
ADAPT_RATE = 5e-4  # between 3e-4 and 1e-3, the best of those tried on the validation part
Pairs = tuple[list[Any], list[Any]]  # texts and labels, or sentences and tags


class Parts(NamedTuple):
    """What is trained on, what it is stopped on (None: as the task decides), what is scored."""

    train: Pairs
    held: Pairs | None
    scored: Pairs


def divided(train: Pairs, test: Callable[[], Pairs] | None, held: Pairs | None = None) -> Parts:
    """Hold out a fixed tenth where there is no validation part, or read the test part if given."""
    if test is not None:
        return Parts(train, held, test())
    if held is None:
        n = len(train[0])
        part = np.zeros(n, dtype=bool)
        part[np.random.default_rng(7).permutation(n)[: n // 10]] = True
        held = _chosen(train, part)
        train = _chosen(train, ~part)
    return Parts(train, held, held)


def _chosen(pairs: Pairs, part: np.ndarray) -> Pairs:
    x, y = ([side[i] for i in np.flatnonzero(part)] for side in pairs)
    return x, y


def labelled(path: Path) -> Pairs:
    """Read `label text` lines. They are Latin-1, as no file of ours may be."""
    rows = [line.split(" ", 1) for line in path.read_text("latin-1").splitlines() if line]
    return [text for _, text in rows], [label for label, _ in rows]


def sst2(test: bool) -> Parts:
    folder = DATA / "text" / "sst2"
    train, dev = labelled(folder / "train.txt"), labelled(folder / "dev.txt")
    return divided(train, (lambda: labelled(folder / "test.txt")) if test else None, dev)


def trec(test: bool) -> Parts:
    folder = DATA / "text" / "trec"
    last = (lambda: labelled(folder / "test.txt")) if test else None
    return divided(labelled(folder / "train.txt"), last)


def imdb(test: bool) -> Parts:
    def read(name: str) -> Pairs:
        found = read_texts(DATA / "text" / "imdb" / f"{name}.tsv.gz")
        return found.texts, found.labels or []

    return divided(read("train"), (lambda: read("test")) if test else None)


def ewt(test: bool) -> Parts:
    def read(name: str) -> Pairs:
        folder = DATA / "tagging" / "ud_english_ewt"
        found = read_conllu(folder / f"en_ewt-ud-{name}.conllu.gz")
        return found.sentences, found.tags

    return divided(read("train"), (lambda: read("test")) if test else None, read("dev"))


def conll2000(test: bool, features: Sequence[int] = ()) -> Parts:
    def read(name: str) -> Pairs:
        file = DATA / "tagging" / "conll2000" / f"{name}.txt.gz"
        found = read_conll(file, feature_cols=features)
        return found.sentences, found.tags

    return divided(read("train"), (lambda: read("test")) if test else None)


def shakespeare(test: bool) -> tuple[str, str]:
    text = (DATA / "language" / "tinyshakespeare.txt").read_text()
    cut, end = (9, 10) if test else (8, 9)
    tenth = len(text) / 10
    return text[: round(cut * tenth)], text[round(cut * tenth) : round(end * tenth)]


def language_scores(parts: tuple[str, str], seed: int) -> tuple[LanguageModel, dict[str, float]]:
    start = time.perf_counter()
    # The end of the training part is most like what is scored, so none of it is held out.
    model = LanguageModel(**LANGUAGE, seed=seed).fit(parts[0], progress=said)
    seconds = time.perf_counter() - start
    scores = model.evaluate(parts[1])
    adapted = model.evaluate(parts[1], adapt_rate=ADAPT_RATE)["nats_per_token"]
    return model, {**scores, "adapted_nats": adapted, "training_seconds": seconds}


def label_scores(
    task: Callable[..., TextClassifier] | type[Tagger], parts: Parts, seed: int
) -> tuple[Any, dict[str, float]]:
    model = task(seed=seed).fit(*parts.train, validation_data=parts.held, progress=said)
    return model, model.evaluate(*parts.scored)


def said(epoch: int, epochs: int, loss: float) -> None:
    print(f"  epoch {epoch} of {epochs}, loss {loss:.4f}", flush=True)


# Reader, task, the score that is compared, and others that are kept.
SETS: dict[str, tuple[Callable[[bool], Any], Any, str, tuple[str, ...]]] = {
    "sst2": (
        sst2,
        TextClassifier,
        "accuracy",
        ("linear_accuracy", "log_loss", "calibration_error"),
    ),
    "trec": (
        trec,
        partial(TextClassifier, **TREC),
        "accuracy",
        ("linear_accuracy", "log_loss", "calibration_error", "macro_f1"),
    ),
    "imdb": (
        imdb,
        TextClassifier,
        "accuracy",
        ("linear_accuracy", "log_loss", "calibration_error"),
    ),
    "ewt": (ewt, Tagger, "accuracy", ("unknown_accuracy", "baseline_accuracy")),
    "conll2000": (conll2000, Tagger, "f1", ("precision", "recall", "baseline_f1")),
    "conll2000-pos": (
        partial(conll2000, features=[1]),
        Tagger,
        "f1",
        ("precision", "recall", "baseline_f1"),
    ),
    "shakespeare": (
        shakespeare,
        LanguageModel,
        "nats_per_token",
        ("adapted_nats", "bigram_nats", "training_seconds"),
    ),
}
PUBLISHED: Rows = [  # what others report for the test parts (shakespeare: the last tenth)
    {"data": "sst2", "model": "CNN without word vectors", "accuracy": 0.835},
    {"data": "sst2", "model": "LSTM, GloVe", "accuracy": 0.849},
    {"data": "sst2", "model": "bidirectional LSTM, GloVe", "accuracy": 0.875},
    {"data": "trec", "model": "CNN without word vectors", "accuracy": 0.882},
    {"data": "trec", "model": "BLSTM-CNN", "accuracy": 0.961},
    {"data": "imdb", "model": "Keras' example, bidirectional LSTM", "accuracy": 0.843},
    {"data": "imdb", "model": "oh-LSTM", "accuracy": 0.941},
    {"data": "ewt", "model": "bidirectional LSTMs, about", "accuracy": 0.955},
    {"data": "conll2000", "model": "BiLSTM-CRF, SENNA vectors", "f1": 0.9446},
    {"data": "conll2000", "model": "NCRF++, GloVe", "f1": 0.9506},
    {"data": "shakespeare", "model": "a small transformer (nanoGPT)", "nats_per_token": 1.47},
]


def measured(name: str, seeds: list[int], test: bool, runs: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a set: mean and spread of its scores over the seeds.

    `runs` has the scores of seeds that were measured before.
    """
    read, task, score, others = SETS[name]
    parts = read(test)
    for seed in seeds:
        start = time.perf_counter()
        if task is LanguageModel:
            model, scores = language_scores(parts, seed)
        else:
            model, scores = label_scores(task, parts, seed)
        seconds = time.perf_counter() - start
        runs[str(seed)] = {key: scores[key] for key in (score, *others)} | {"seconds": seconds}
        print(f"  seed {seed}: {score} {scores[score]:.4f}, {seconds:.0f} s", flush=True)
    row: dict[str, Any] = {
        "data": name,
        "model": type(model).__name__,
        "part": "test" if test else "validation",
    }
    for key in (score, *others, "seconds"):
        values = [run[key] for run in runs.values() if key in run]
        row[key] = statistics.fmean(values)
        if key == score:
            row["spread"] = statistics.pstdev(values)
    return row | {"seeds": len(runs), "runs": runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}; all if none")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--test", action="store_true", help="score the test parts instead")
    parser.add_argument("--add", action="store_true", help="keep the seeds that the file has")
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the rows")
    given = parser.parse_args()
    if unknown := set(given.sets) - set(SETS):
        parser.error(f"unknown data {sorted(unknown)}; there are {', '.join(SETS)}")
    print("longshort:", ", ".join(f"{k} {v}" for k, v in longshort.ops.info().items()))
    for name in given.sets or SETS:
        print(name, flush=True)
        key = (name, "test" if given.test else "validation")
        before = [row for row in rows_of(given.json) if (row["data"], row["part"]) == key]
        if given.add and before and "runs" not in before[0]:
            parser.error(f"--add: {given.json} has no scores of {name} seed by seed")
        runs = before[0]["runs"] if given.add and before else {}
        row = measured(name, given.seeds, given.test, runs)
        # At once: the next set may take hours.
        write(given.json, [row], PUBLISHED, ("data", "part"))
        shown = pd.DataFrame([row | {"runs": None}, *(p for p in PUBLISHED if p["data"] == name)])
        print(
            shown.dropna(axis=1, how="all").round(4).to_string(index=False, na_rep=""), flush=True
        )


if __name__ == "__main__":
    main()
