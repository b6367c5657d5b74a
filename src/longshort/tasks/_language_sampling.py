"""Choose the next token, and turn tokens into text as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any

import numpy as np

from longshort._errors import DataError
from longshort.tasks._base import MAX_SEED, check_whole, is_a

_CONTEXT = 8  # tokens before new ones that decide on the space between them


def check_sampling(
    max_tokens: Any, temperature: Any, top_k: Any, top_p: Any, seed: Any, stop: Any
) -> list[str]:
    """Check the arguments of `generate`; return `stop` as a list.

    Raises:
        DataError: All that is wrong, in one message.
    """
    faults = check_whole("max_tokens", max_tokens, 1, 10**12)
    if not is_a(Real, temperature) or not 0 <= temperature < np.inf:
        faults.append(
            f"temperature must be a number from 0 (always the likeliest), got {temperature!r}"
        )
    if top_k is not None:
        faults += check_whole("top_k", top_k, 1, 10**12)
    if top_p is not None and not (is_a(Real, top_p) and 0 < top_p <= 1):
        faults.append(f"top_p must be a number above 0 and at most 1, got {top_p!r}")
    faults += check_whole("seed", seed, 0, MAX_SEED)
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, (list, tuple)) or not all(isinstance(s, str) and s for s in stops):
        faults.append(f"stop must be a list of strings that are not empty, got {stop!r}")
    if faults:
        raise DataError(f"LanguageModel: {'; '.join(faults)}.")
    return list(stops)


def choose(
    logits: np.ndarray,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    rng: np.random.Generator,
) -> int:
    """Draw the number of a token from softmax(logits / temperature).

    Args:
        logits: (V,); -inf excludes a token.
        temperature: 0 takes the likeliest token, the first of equals.
        top_k: Draw from the likeliest k only.
        top_p: Draw from the fewest tokens whose probabilities reach this sum ("nucleus", Holtzman
            et al. 2020), after `top_k`.
        rng: Draws.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> logits = np.log([0.5, 0.3, 0.2])
        >>> choose(logits, 0.0, None, None, rng)
        0
        >>> sorted({choose(logits, 1.0, None, 0.6, rng) for _ in range(50)})
        [0, 1]
    """
    values = logits.astype(np.float64)
    if temperature == 0:
        return int(values.argmax())
    order = np.arange(len(values))
    if top_k is not None or top_p is not None:
        order = np.argsort(-values, kind="stable")[:top_k]
    with np.errstate(over="ignore"):  # far below the best one, at a tiny temperature
        weights = np.exp((values[order] - values.max()) / temperature)
    sums = np.cumsum(weights)
    if top_p is not None:
        count = int(np.searchsorted(sums, top_p * sums[-1] * (1 - 1e-12))) + 1
        order, sums = order[:count], sums[:count]
    place = int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
    return int(order[min(place, len(order) - 1)])


class TextStream:
    """Text from tokens that come one at a time.

    A token's text can depend on its neighbours (spaces between words, bytes of one character), and
    what may be the beginning of a stop is held back until it is known whether it is one.

    Args:
        decode: Turns numbers of tokens into text.
        before: Numbers of the tokens before the first one.
        stops: Strings that end the text and do not belong to it.

    Example:
        >>> stream = TextStream(lambda ids: "".join(map(chr, ids)), [], ["END"])
        >>> [stream.add(ord(c)) for c in "EEND!"], stream.ended
        (['', 'E', '', '', ''], True)
    """

    def __init__(
        self, decode: Callable[[Sequence[int]], str], before: Iterable[int], stops: Sequence[str]
    ) -> None:
        self.decode, self.stops = decode, stops
        self.context = list(before)[-_CONTEXT:]
        self.new: list[int] = []
        self.held = ""
        self.ended = False

    def add(self, token: int) -> str:
        """Return the text that is certain with one token more, often none."""
        if self.ended:
            return ""
        self.new.append(token)
        text = self.decode([*self.context, *self.new])
        if text.endswith("\ufffd") and len(self.new) < 4:  # bytes of a character are missing
            return ""
        self.held += text[len(self.decode(self.context)) :]
        self.context = [*self.context, *self.new][-_CONTEXT:]
        self.new = []
        found = [place for stop in self.stops if (place := self.held.find(stop)) >= 0]
        if found:
            self.ended = True
            return self._give(min(found))
        return self._give(len(self.held) - max(map(self._begun, self.stops), default=0))

    def finish(self) -> str:
        """Return what was held back, at the end."""
        if self.ended:
            return ""
        self.ended = True
        text = self.decode([*self.context, *self.new])
        return self.held + text[len(self.decode(self.context)) :]

    def _begun(self, stop: str) -> int:
        """Return how many characters at the end may be the beginning of `stop`."""
        most = min(len(stop) - 1, len(self.held))
        return next((n for n in range(most, 0, -1) if self.held.endswith(stop[:n])), 0)

    def _give(self, count: int) -> str:
        text, self.held = self.held[:count], self.held[count:]
        return text
