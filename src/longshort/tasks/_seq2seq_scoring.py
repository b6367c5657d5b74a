"""A trained encoder-decoder on sentences of any length: log probabilities, attention, searches.

A sentence always meets the same shapes, whoever else is there, for XLA may round otherwise in
another. So its results are the same bits alone and in any batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from longshort.data._vocabulary import BEGIN, END
from longshort.tasks._beam_search import Hypothesis, Input, Search, beam_search
from longshort.tasks._runner import Runner
from longshort.tasks._seq2seq_net import Seq2SeqNet

CHUNK = 32  # target tokens that are scored at once
MOST_ROWS, MOST_LOGITS, MOST_PAIRS = 64, 2**24, 2**17
SEARCH_ROWS, SEARCH_CANDIDATES, SEARCH_STEPS = 16, 512, 2**11


class Scorer:
    """Runs a network.

    Args:
        net: The network.
    """

    def __init__(self, net: Seq2SeqNet) -> None:
        self.net = net
        self._steps: dict[int, Runner] = {}

    def score(
        self, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return what the network makes of given targets.

        Args:
            sources: n arrays of numbers (S_i,), none empty.
            targets: n arrays (T_i,), which may be empty.

        Returns:
            For each the log probabilities of its tokens and of END, (T_i + 1,), nats, and the
            attention, (T_i + 1, S_i).
        """
        found: list[Any] = [None] * len(sources)
        lengths = [len(ids) for ids in sources]

        def rows_of(steps: int) -> int:
            most = min(MOST_PAIRS // steps, MOST_LOGITS // self.net.plan.num_target) // CHUNK
            return min(MOST_ROWS, max(1, most))

        for rows, size, steps in _groups(lengths, rows_of):
            ids = _padded([sources[i] for i in rows], size, steps)
            values, keys, *states = self.net.encoder.predict_on_batch(ids)
            wanted = [np.array([BEGIN, *targets[i], END], np.int32) for i in rows]
            parts: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in rows]
            for start in range(0, max(map(len, wanted)) - 1, CHUNK):
                chunk = [one[start : start + CHUNK + 1] for one in wanted]
                given = _padded([one[:-1] for one in chunk], size, CHUNK)
                following = _padded([one[1:] for one in chunk], size, CHUNK)
                scores, weights, *states = self.net.scorer.predict_on_batch(
                    [given, following, values, keys, ids != 0, *states]
                )
                for row, one in enumerate(chunk):
                    count = max(len(one) - 1, 0)
                    parts[row].append(
                        (scores[row, :count], weights[row, :count, : lengths[rows[row]]])
                    )
            for i, part in zip(rows, parts, strict=True):
                found[i] = tuple(np.concatenate(each) for each in zip(*part, strict=True))
        return found

    def mean_loss(self, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> float:
        """Return the loss in nats a token, END counted, each token once."""
        scores = [score for score, _ in self.score(sources, targets)]
        return -float(np.concatenate(scores).mean(dtype=np.float64))

    def search(
        self, sources: Sequence[np.ndarray], limits: Sequence[int], search: Search
    ) -> list[list[Hypothesis]]:
        """Return the best targets of each source, none of which is empty; see `beam_search`."""
        found: list[list[Hypothesis]] = [[] for _ in sources]
        K = search.beam_size
        if K not in self._steps:
            self._steps = {K: Runner(self.net.step(K))}  # one: each holds compiled programs
        run = self._steps[K]

        def rows_of(steps: int) -> int:
            return max(1, min(SEARCH_ROWS, SEARCH_CANDIDATES // K, SEARCH_STEPS // steps))

        def step(tokens: Any, before: Any, given: Any) -> Any:
            chances, weights, *after = run([tokens, *given, *before])
            return chances, weights, after

        groups = _groups([len(ids) for ids in sources], rows_of)
        for steps, same in itertools.groupby(groups, key=lambda group: group[2]):
            parts = [rows for rows, _, _ in same]
            inputs = self._inputs(run, parts, rows_of(steps), steps, sources, limits)
            best = beam_search(step, inputs, rows_of(steps), search)
            for i, one in zip(itertools.chain(*parts), best, strict=True):
                found[i] = one
        return found

    def _inputs(
        self,
        run: Runner,
        parts: list[list[int]],
        size: int,
        steps: int,
        sources: Sequence[np.ndarray],
        limits: Sequence[int],
    ) -> Iterator[Input]:
        """Read sources, `size` at a time, when the first of them is asked for."""
        for rows in parts:
            ids = _padded([sources[i] for i in rows], size, steps)
            values, keys, *states = self.net.encoder.predict_on_batch(ids)
            run.read_weights()
            for n, i in enumerate(rows):
                real = ids[n] != 0
                yield Input(
                    [each[n] for each in states], [values[n], keys[n], real], real, limits[i]
                )


def _groups(lengths: Sequence[int], rows_of: Any) -> Iterator[tuple[list[int], int, int]]:
    """Divide sentences into batches: which, of how many rows, and how many steps.

    Steps are a power of two from 16, for few shapes; neighbours in length share a batch.
    """
    steps = np.array([1 << max(4, (n - 1).bit_length()) for n in lengths], dtype=int)
    order = np.argsort(lengths, kind="stable")
    for each in np.unique(steps).tolist():
        size = rows_of(each)
        rows = [int(i) for i in order if steps[i] == each]
        for start in range(0, len(rows), size):
            yield rows[start : start + size], size, each


def _padded(sequences: Sequence[np.ndarray], size: int, steps: int) -> np.ndarray:
    """Return numbers (size, steps) int32, 0 behind the end of each sequence."""
    ids = np.zeros((size, steps), np.int32)
    for row, one in zip(ids, sequences, strict=False):
        row[: len(one)] = one
    return ids
