"""How good the translations are, on Multi30k, beside published figures.

    python benchmarks/translation.py                     # both directions; validation part
    python benchmarks/translation.py de-en --minutes 60 --json benchmarks/results/translation.json
    python benchmarks/translation.py --save DIR          # then once, at the end, test_2016_flickr:
    python benchmarks/translation.py --saved DIR --test

Trains on the 29,000 pairs of the training part, stops on the loss of the validation part, and
scores as sacrebleu does by default: cased, its own tokens. The data lie in ../shared/data or where
LONGSHORT_DATA says. Needs `pip install sentencepiece sacrebleu`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import longshort  # isort: skip  # before Keras: it chooses the backend
import pandas as pd

from longshort.data import read_parallel
from longshort.tasks import Translator, load
from result_files import write

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("LONGSHORT_DATA", ROOT.parent / "shared" / "data")) / "translation"
DIRECTIONS = ("de-en", "en-de")
PUBLISHED: list[dict[str, Any]] = [  # what others report for test_2016_flickr
    {"direction": "de-en", "model": "LSTM without attention", "bleu": 13.8},
    {"direction": "de-en", "model": "GRU with context", "bleu": 20.6},
    {"direction": "de-en", "model": "BiGRU + attention", "bleu": 28.3},
    {"direction": "de-en", "model": "RNN + attention + subwords", "bleu": 33.5},
    {"direction": "de-en", "model": "transformer", "bleu": 36.5},
]


def pairs(part: str, direction: str) -> Any:
    source, target = direction.split("-")
    return read_parallel(DATA / f"{part}.{source}.gz", DATA / f"{part}.{target}.gz")


def trained(direction: str, given: argparse.Namespace) -> tuple[Translator, float]:
    """The model and the minutes that its training took."""
    start = time.perf_counter()

    def said(epoch: int, epochs: int, loss: float) -> None:
        minutes = (time.perf_counter() - start) / 60
        print(
            f"  {minutes:5.1f} min, epoch {epoch} of {epochs}: {loss:.4f} nats a token", flush=True
        )

    settings = dict(given.setting)
    model = Translator(max_minutes=given.minutes, seed=given.seed, **settings)
    model.fit(*pairs("train", direction), validation_data=pairs("val", direction), progress=said)
    minutes = (time.perf_counter() - start) / 60
    if given.save:
        given.save.mkdir(parents=True, exist_ok=True)
        model.save(given.save / f"{direction}.longshort")
        (given.save / f"{direction}.json").write_text(json.dumps({"minutes": minutes}))
    return model, minutes


def run(direction: str, given: argparse.Namespace) -> dict[str, Any]:
    if given.saved:
        model: Translator = load(given.saved / f"{direction}.longshort")
        minutes = json.loads((given.saved / f"{direction}.json").read_text())["minutes"]
    else:
        model, minutes = trained(direction, given)
    part = "test_2016_flickr" if given.test else "val"
    held = pairs(part, direction)
    rows = {}
    for beam_size in (1, 5):
        scores = model.evaluate(*held, beam_size=beam_size)
        # Once more for the time: the first call compiles.
        began = time.perf_counter()
        model.translate(held.sources, beam_size=beam_size)
        scores["sentences_per_second"] = len(held.sources) / (time.perf_counter() - began)
        rows[beam_size] = scores
        print(f"  beam {beam_size}:", {name: round(v, 3) for name, v in scores.items()}, flush=True)
    greedy = {f"{name}_greedy": rows[1][name] for name in ("bleu", "chrf", "sentences_per_second")}
    about = {"direction": direction, "model": repr(model), "part": part, "minutes": minutes}
    return about | rows[5] | greedy | {"epochs": len(model.history_), "seed": model.seed}


def setting(text: str) -> tuple[str, Any]:
    name, value = text.split("=", 1)
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directions", nargs="*", help=f"of {', '.join(DIRECTIONS)}; both if none")
    parser.add_argument(
        "--setting", type=setting, action="append", default=[], help="such as units=256"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="of training, each direction")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--test", action="store_true", help="score on the test part")
    parser.add_argument("--save", type=Path, help="folder to save the models in")
    parser.add_argument("--saved", type=Path, help="score the models of this folder, train none")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    given = parser.parse_args()
    if unknown := set(given.directions) - set(DIRECTIONS):
        parser.error(f"unknown directions {sorted(unknown)}; there are {', '.join(DIRECTIONS)}")
    print("longshort:", ", ".join(f"{k} {v}" for k, v in longshort.ops.info().items()))
    rows = []
    for direction in given.directions or DIRECTIONS:
        print(direction, flush=True)
        rows.append(run(direction, given))
    columns = ["direction", "model", "part", "bleu", "chrf", "minutes", "sentences_per_second"]
    shown = pd.DataFrame(rows + PUBLISHED).reindex(columns=columns)
    print(shown.round(2).to_string(index=False, na_rep=""))
    if given.json:
        write(given.json, rows, PUBLISHED, ("direction", "part"))


if __name__ == "__main__":
    main()
