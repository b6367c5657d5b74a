"""The tags that a tagger is trained on, and those that its user knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from longshort.data._tag_schemes import (
    OUTSIDE,
    SCHEMES,
    allowed_tags,
    convert_tags,
    find_scheme,
    spans,
    split_tag,
    tags_of_spans,
)

TRAINED_IN = "BIOES"  # says the most about where a span ends; what it gains was not measured


class TagCode:
    """Numbers of tags. Tags of spans become BIOES, with what that allows, and go back again.

    Attributes:
        scheme: One of `SCHEMES`, or None where tags mark no spans.
        inner: The tags that are trained on, by number.
        outer: (K,) the tags of the user by column, sorted; for IOB1 those of IOB2, as its B
            depends on the span before.
        columns: For each inner tag its column.
    """

    def __init__(self, scheme: str | None, seen: Sequence[str]) -> None:
        if scheme is not None and scheme not in SCHEMES:
            raise ValueError(f"the scheme is {scheme!r}")
        self.scheme, self.seen = scheme, sorted(set(seen))
        if scheme is None:
            self.inner = self.outer = self.seen
            self.columns = np.arange(len(self.seen))
            self._marks: dict[str, str] = {}
        else:
            # M for I and the like, as the user has them.
            self._marks = {split_tag(tag)[0]: tag[0] for tag in reversed(self.seen)}
            kinds = sorted({split_tag(tag)[1] for tag in self.seen if tag != OUTSIDE})
            outside = [OUTSIDE] if OUTSIDE in self.seen else []
            # All marks of each type, or else a sentence of one word could have no allowed tag.
            self.inner = outside + [
                _join(mark, kind) for kind in kinds for mark in TRAINED_IN if mark != "O"
            ]
            shown = [self._column(tag) for tag in self.inner]
            self.outer = sorted(set(shown))
            self.columns = np.array([self.outer.index(tag) for tag in shown])
        self._numbers = {tag: k for k, tag in enumerate(self.inner)}

    @classmethod
    def fit(cls, tags: Iterable[Sequence[str]], scheme: str | None) -> TagCode:
        """Make it from all sentences' tags; "auto" finds the scheme."""
        rows = list(tags)
        seen = sorted({tag for row in rows for tag in row})
        return cls(find_scheme(rows) if scheme == "auto" else scheme, seen)

    def encode(self, tags: Sequence[str]) -> np.ndarray:
        """Return the numbers of one sentence's tags, all of which were seen, (T,) int32."""
        if self.scheme is not None:
            tags = tags_of_spans(spans(tags), len(tags), TRAINED_IN)
        return np.array([self._numbers[tag] for tag in tags], dtype=np.int32)

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """Return the user's tags of one sentence."""
        tags = [self.inner[k] for k in numbers]
        if self.scheme is None:
            return tags
        if self.scheme == TRAINED_IN:
            return [self._column(tag) for tag in tags]
        return convert_tags(tags, self.scheme)

    def fold(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the probabilities of the user's tags (..., K) from those of the inner ones."""
        folded = np.zeros((*probabilities.shape[:-1], len(self.outer)))
        for k, column in enumerate(self.columns):
            folded[..., column] += probabilities[..., k]
        return folded

    @property
    def allowed(self) -> dict[str, Any]:
        """The constraints, as arguments of `CRF`."""
        if self.scheme is None:
            return {}
        start, moves, end = allowed_tags(self.inner, TRAINED_IN)
        return {"allowed_start": start, "allowed": moves, "allowed_end": end}

    def _column(self, tag: str) -> str:
        mark, kind = split_tag(tag)
        if self.scheme != TRAINED_IN:
            return _join({"S": "B", "E": "I"}.get(mark, mark), kind)
        return _join(self._marks.get(mark, mark), kind)


def _join(mark: str, kind: str) -> str:
    return f"{mark}-{kind}" if kind else mark
