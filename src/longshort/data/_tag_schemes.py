"""Schemes of tags that mark spans of words: IOB1, IOB2 and BIOES; what they mean and allow.

A tag is O, outside of all spans, or a mark, a hyphen and a type: B-PER. In IOB1 (Ramshaw and
Marcus 1995) a span's words are I, and the first is B only where a span of its type ends right
before it. In IOB2 the first word is always B. In BIOES a span's last word is E, and a span of one
word is S. Marks of the same meaning are M for I, L for E, U and W for S (BILOU, BMEWO).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from longshort._errors import DataError

SCHEMES = ("IOB1", "IOB2", "BIOES")
OUTSIDE = "O"
_MARKS = {"M": "I", "L": "E", "U": "S", "W": "S"}


class Span(NamedTuple):
    """A span: its type, its first word and the word after its last."""

    kind: str
    start: int
    end: int


def split_tag(tag: str) -> tuple[str, str]:
    """Return a tag's mark and type; a tag without hyphen is its mark.

    >>> split_tag("B-PER"), split_tag("U-LOC"), split_tag("O")
    (('B', 'PER'), ('S', 'LOC'), ('O', ''))
    """
    mark, _, kind = tag.partition("-")
    return _MARKS.get(mark, mark), kind


def find_scheme(tags: Iterable[Sequence[str]]) -> str | None:
    """Return which scheme some sentences' tags are in, or None where they mark no spans.

    The one of IOB2, BIOES and IOB1, in this order, that the tags break nowhere; IOB2 where they
    are marks of spans but break all three, as answers of a network may.

    >>> find_scheme([["B-NP", "I-NP", "O"]]), find_scheme([["I-NP", "O"]]), find_scheme([["DET"]])
    ('IOB2', 'IOB1', None)
    """
    seen = list(tags)
    kinds = {tag for row in seen for tag in row}
    if not kinds - {OUTSIDE} or not all(map(_is_span_tag, kinds)):
        return None
    if {tag[0] for tag in kinds} & {"E", "S", *_MARKS}:
        return "BIOES"
    for scheme in ("IOB2", "IOB1"):
        if all(_follows(row, scheme) for row in seen):
            return scheme
    return "IOB2"


def spans(tags: Sequence[str]) -> list[Span]:
    """Return the spans of one sentence, in any scheme.

    As in the shared tasks' conlleval a span begins with B or S, and also with any other tag of a
    type after O, after the end of a span, or after another type; so broken tags have spans too.

    >>> spans(["I-PER", "B-PER", "I-PER", "O", "I-LOC"])
    [Span(kind='PER', start=0, end=1), Span(kind='PER', start=1, end=3), Span(kind='LOC', ...)]
    """
    found = []
    start, before_mark, before = 0, OUTSIDE, ""
    for i, tag in enumerate([*tags, OUTSIDE]):
        mark, kind = split_tag(tag)
        inside = before_mark != OUTSIDE
        begins = mark in ("B", "S") or not inside or before_mark in ("E", "S") or kind != before
        if inside and (begins or mark == OUTSIDE):
            found.append(Span(before, start, i))
        if begins and mark != OUTSIDE:
            start = i
        before_mark, before = mark, kind
    return found


def tags_of_spans(found: Iterable[Span], length: int, scheme: str) -> list[str]:
    """Return the tags of a sentence of `length` words in a scheme.

    >>> tags_of_spans([Span("PER", 0, 2), Span("PER", 2, 3)], 4, "BIOES")
    ['B-PER', 'E-PER', 'S-PER', 'O']
    """
    tags = [OUTSIDE] * length
    end_before = Span("", -1, -1)
    for span in sorted(found, key=lambda span: span.start):
        size = span.end - span.start
        marks = ["B"] + ["I"] * (size - 1)
        if scheme == "BIOES":
            marks[-1] = "S" if size == 1 else "E"
        elif scheme == "IOB1" and (end_before.end, end_before.kind) != (span.start, span.kind):
            marks[0] = "I"
        for place, mark in enumerate(marks, span.start):
            tags[place] = f"{mark}-{span.kind}" if span.kind else mark
        end_before = span
    return tags


def convert_tags(tags: Sequence[str], scheme: str) -> list[str]:
    """Return one sentence's tags in another scheme; broken ones as `spans` reads them.

    Raises:
        DataError: If a tag marks no span, or there is no such scheme.

    >>> convert_tags(["I-NP", "I-NP", "B-NP", "O"], "IOB2")
    ['B-NP', 'I-NP', 'B-NP', 'O']
    """
    if scheme not in SCHEMES:
        raise DataError(f"tags: expected a scheme of {', '.join(SCHEMES)}, got {scheme!r}.")
    for i, tag in enumerate(tags):
        if not _is_span_tag(tag):
            raise DataError(
                f"tags: expected O or tags such as B-PER, got {tag!r} for word {i}; tags that "
                "mark no spans have no scheme."
            )
    return tags_of_spans(spans(tags), len(tags), scheme)


def allowed_tags(tags: Sequence[str], scheme: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what a scheme allows.

    Args:
        tags: K different tags.
        scheme: One of `SCHEMES`.

    Returns:
        Which tags may begin a sentence (K,), which may follow which (K, K), row before column,
        and which may end it (K,).

    >>> allowed_tags(["O", "B-X", "I-X"], "IOB2")[0].tolist()
    [True, True, False]
    """
    parts = [split_tag(tag) for tag in tags]
    nothing = (OUTSIDE, "")
    start = np.array([_may_follow(nothing, part, scheme) for part in parts])
    moves = np.array([[_may_follow(a, b, scheme) for b in parts] for a in parts])
    end = np.array([_may_follow(part, nothing, scheme) for part in parts])
    return start, moves, end


def _is_span_tag(tag: str) -> bool:
    mark, kind = split_tag(tag)
    return tag == OUTSIDE or (mark in ("B", "I", "E", "S") and bool(kind) == ("-" in tag))


def _may_follow(before: tuple[str, str], after: tuple[str, str], scheme: str) -> bool:
    (mark, kind), (next_mark, next_kind) = before, after
    within = mark in ("B", "I") and next_kind == kind
    if scheme == "BIOES":
        return within if next_mark in ("I", "E") else mark not in ("B", "I")
    if scheme == "IOB2":
        return next_mark != "I" or within
    # IOB1: B only where it parts two spans of one type.
    return next_mark != "B" or within


def _follows(row: Sequence[str], scheme: str) -> bool:
    parts = [(OUTSIDE, ""), *map(split_tag, row), (OUTSIDE, "")]
    return all(_may_follow(a, b, scheme) for a, b in zip(parts, parts[1:], strict=False))
