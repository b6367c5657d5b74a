"""Text that goes on from a prompt, a token at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from longshort._errors import DataError
from longshort.data._corpus import check_known, encode_corpus
from longshort.data._vocabulary import BEGIN, END, PADDING, UNKNOWN, Vocabulary
from longshort.tasks._language_sampling import TextStream

if TYPE_CHECKING:
    from longshort.tasks._language_scoring import Scorer


def encode_prompt(prompt: Any, vocabulary: Vocabulary, *, several: bool) -> np.ndarray:
    """Return the numbers of END and the prompt's tokens; warn of unknown ones.

    Raises:
        DataError: If `prompt` is no str, or all its tokens are unknown.
    """
    if not isinstance(prompt, str):
        raise DataError(f"prompt: expected a str, got a {type(prompt).__name__}.")
    if not prompt:
        return np.array([END])
    corpus = encode_corpus(prompt, vocabulary, "prompt", several=several)
    if share := check_known(corpus, prompt, "prompt"):
        unknown = round(share * int((corpus.ids != END).sum()))
        warnings.warn(
            f"{unknown} tokens of the prompt did not occur in training and are read as unknown.",
            stacklevel=4,
        )
    return corpus.ids[:-1] if several else corpus.ids  # without END


def continued(
    scorer: Scorer,
    vocabulary: Vocabulary,
    ids: np.ndarray,
    draw: Callable[[np.ndarray], int],
    max_tokens: int,
    stops: Sequence[str],
    *,
    several: bool,
) -> Iterator[str]:
    """Yield the text of the tokens that are drawn behind `ids`.

    Args:
        scorer: Of the network.
        vocabulary: Its tokens.
        ids: From `encode_prompt`.
        draw: From the logits (V,) of the next token to its number.
        max_tokens: Most tokens to draw.
        stops: Strings at the first of which the text ends.
        several: Whether END ends the text; else it is the end of a line.
    """
    from longshort.tasks._language_steps import stepper

    states, done = scorer.states_within(ids[:-1])
    advance = stepper(scorer.net, states)
    for token in ids[done:-1].tolist():
        advance(token)
    token = int(ids[-1])
    text = TextStream(lambda ids: _decode(vocabulary, ids), ids[1:].tolist(), stops)
    never = [PADDING, UNKNOWN, BEGIN]
    if not several and vocabulary.unit == "char":
        never.append(END)
    for _ in range(max_tokens):
        logits = advance(token)
        logits[never] = -np.inf
        token = draw(logits)
        if token == END and several:
            break
        if piece := text.add(token):
            yield piece
        if text.ended:
            return
    if piece := text.finish():
        yield piece


def _decode(vocabulary: Vocabulary, ids: Sequence[int]) -> str:
    """Return the text of tokens; END, where it is drawn, is the end of a line."""
    if END not in ids:
        return vocabulary.decode(ids)
    lines: list[list[int]] = [[]]
    for token in ids:
        if token == END:
            lines.append([])
        else:
            lines[-1].append(token)
    return "\n".join(vocabulary.decode(line) for line in lines)
