"""Log probabilities of running text, whatever its length, in few shapes and little memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from longshort.data._batches import padded_length
from longshort.tasks._language_net import LanguageNet

MOST_ROWS, MOST_STEPS = 32, 256
# Values of the logits of a call: 64 MiB, and as much again for their exponentials.
MOST_LOGITS = 2**24
# Pieces of the validation part that are scored side by side, and the tokens before each that only
# bring its state up to date.
PIECES, CONTEXT = 16, 128


class Scorer:
    """Runs a network over sequences of any lengths, with the state carried from part to part.

    Args:
        net: The network.
    """

    def __init__(self, net: LanguageNet) -> None:
        self.net = net

    def log_probabilities(self, sequences: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the log probability of each token but the first, given all those before it.

        Args:
            sequences: Numbers of tokens, (n_i,); each begins with a state of zeros.

        Returns:
            (n_i - 1,) float32 each, nats.
        """
        results = [np.empty(max(len(ids) - 1, 0), np.float32) for ids in sequences]
        order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
        for first in range(0, len(order), MOST_ROWS):
            group = order[first : first + MOST_ROWS]
            self._run([sequences[i] for i in group], [results[i] for i in group])
        return results

    def states_within(self, ids: np.ndarray) -> tuple[list[np.ndarray], int]:
        """Return the states (1, H) after as many of the tokens as fill whole calls, and these."""
        steps = self._steps(1)
        count = len(ids) // steps * steps
        states = self.net.zeros(1)
        for start in range(0, count, steps):
            part = ids[None, start : start + steps].astype(np.int32)
            # The targets, and so the scores, are of no interest.
            _, *states = self.net.scorer.predict_on_batch([part, part, *states])
        return states, count

    def mean_loss(self, ids: np.ndarray) -> float:
        """Return the mean loss of the tokens (n,) but the first, in nats, for early stopping.

        Long text is cut into pieces side by side, which differs from one pass in the 14th bit or
        so: what is further back than some 100 tokens hardly counts.
        """
        num_pieces = min(PIECES, max(1, (len(ids) - 1) // (2 * CONTEXT)))
        cuts = np.linspace(1, len(ids), num_pieces + 1).astype(int)
        starts = np.maximum(cuts[:-1] - 1 - CONTEXT, 0)
        pieces = [ids[start:end] for start, end in zip(starts, cuts[1:], strict=True)]
        scores = self.log_probabilities(pieces)
        kept = [
            score[cut - 1 - start :]
            for score, cut, start in zip(scores, cuts[:-1], starts, strict=True)
        ]
        return -float(np.concatenate(kept).mean(dtype=np.float64))

    def _run(self, sequences: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> None:
        size = 1 << (len(sequences) - 1).bit_length()
        longest = max(map(len, sequences)) - 1
        most = self._steps(size)
        states = self.net.zeros(size)
        for place in range(0, longest, most):
            steps = padded_length(min(most, longest - place), most)
            ids = np.zeros((size, steps + 1), np.int32)
            for row, sequence in zip(ids, sequences, strict=False):
                part = sequence[place : place + steps + 1]
                row[: len(part)] = part
            found, *states = self.net.scorer.predict_on_batch([ids[:, :-1], ids[:, 1:], *states])
            for scores, result in zip(found, results, strict=False):
                part = result[place : place + steps]
                part[:] = scores[: len(part)]

    def _steps(self, size: int) -> int:
        most = MOST_LOGITS // (size * self.net.plan.num_tokens) // 8 * 8
        return min(MOST_STEPS, max(8, most))
