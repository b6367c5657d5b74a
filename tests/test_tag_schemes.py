"""Schemes of span tags, and scores of spans."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from longshort._errors import DataError
from longshort.data._tag_schemes import (
    SCHEMES,
    Span,
    allowed_tags,
    convert_tags,
    find_scheme,
    spans,
    tags_of_spans,
)
from longshort.tasks._span_scores import frequent_errors, span_scores


def all_spans(length: int) -> list[list[Span]]:
    """Every way to lay spans of two types over a sentence."""
    ways = [
        [Span("X", s, e), Span("Y", s, e)] for s in range(length) for e in range(s + 1, length + 1)
    ]
    flat = [span for pair in ways for span in pair]
    return [
        list(some)
        for n in range(length + 1)
        for some in itertools.combinations(flat, n)
        if all(a.end <= b.start for a, b in itertools.pairwise(some))
    ]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_there_and_back(scheme: str) -> None:
    """Each scheme keeps all spans, obeys its own rules, and is known again."""
    for found in all_spans(4):
        tags = tags_of_spans(found, 4, scheme)
        assert spans(tags) == found
        kinds = sorted(set(tags))
        start, moves, end = allowed_tags(kinds, scheme)
        path = [kinds.index(tag) for tag in tags]
        assert start[path[0]] and end[path[-1]]
        assert all(moves[a, b] for a, b in itertools.pairwise(path))
        for other in SCHEMES:
            assert convert_tags(tags, other) == tags_of_spans(found, 4, other)


def test_only_what_the_scheme_allows_comes_back() -> None:
    """The allowed sequences are those that conversion to the scheme leaves as they are."""
    for scheme, marks in (("IOB2", "BI"), ("IOB1", "BI"), ("BIOES", "BIES")):
        kinds = ["O", *(f"{mark}-{kind}" for kind in "XY" for mark in marks)]
        start, moves, end = allowed_tags(kinds, scheme)
        for path in itertools.product(range(len(kinds)), repeat=3):
            tags = [kinds[k] for k in path]
            legal = start[path[0]] and end[path[-1]]
            legal = legal and all(moves[a, b] for a, b in itertools.pairwise(path))
            assert legal == (convert_tags(tags, scheme) == tags), (scheme, tags)


def test_find_scheme() -> None:
    assert find_scheme([["B-X", "I-X"], ["O"]]) == "IOB2"
    assert find_scheme([["I-X", "B-X"]]) == "IOB1"
    assert find_scheme([["S-X", "O"]]) == find_scheme([["B", "M", "E"]]) == "BIOES"
    assert find_scheme([["B-X", "O", "I-X", "B-X", "B-X"], ["O", "B-X"]]) == "IOB2"  # broken
    for none in ([["NOUN"]], [["O"]], [["B-X", "NOUN"]], [["B-"]]):
        assert find_scheme(none) is None
    with pytest.raises(DataError, match="got 'NOUN' for word 1"):
        convert_tags(["O", "NOUN"], "IOB2")
    with pytest.raises(DataError, match="expected a scheme of IOB1, IOB2, BIOES, got 'IOB'"):
        convert_tags(["O"], "IOB")


@pytest.mark.parametrize(
    ("tags", "want"),
    [
        ("I-X I-X", "X02"),  # no beginning
        ("B-X I-Y", "X01 Y12"),  # another type
        ("O E-X O", "X12"),
        ("B-X O I-X", "X01 X23"),
        ("S-X I-X", "X01 X12"),
        ("B-X E-X E-X", "X02 X23"),
        ("I-X B-X I-X", "X01 X13"),
        ("U-X B-Y L-Y", "X01 Y13"),
        ("B-X B-X S-X", "X01 X12 X23"),
    ],
)
def test_ill_formed_as_conlleval(tags: str, want: str) -> None:
    assert " ".join(f"{s.kind}{s.start}{s.end}" for s in spans(tags.split())) == want


def test_span_scores_by_hand() -> None:
    true = ["B-NP I-NP O B-VP O B-NP".split(), "B-NP B-NP I-NP".split(), ["O"]]
    guess = ["B-NP I-NP I-NP B-VP O O".split(), "I-NP B-NP I-NP".split(), ["B-PP"]]
    scores = span_scores(true, guess)
    assert list(scores) == ["NP", "PP", "VP", "all"]
    # NP: right (0, 1) and (1, 3) of the second sentence; predicted three, true four.
    assert scores["NP"] == {
        "precision": 2 / 3,
        "recall": 0.5,
        "f1": pytest.approx(4 / 7),
        "true": 4.0,
        "predicted": 3.0,
    }
    assert scores["VP"]["f1"] == 1.0
    assert scores["PP"] == dict.fromkeys(("precision", "recall", "f1", "true"), 0.0) | {
        "predicted": 1.0
    }
    assert scores["all"]["precision"] == 3 / 5 and scores["all"]["recall"] == 3 / 5


def test_scores_do_not_depend_on_the_scheme() -> None:
    rng = np.random.default_rng(0)
    ways = all_spans(4)
    pick = [(ways[i], ways[j]) for i, j in rng.integers(len(ways), size=(50, 2))]
    want = None
    for a, b in itertools.product(SCHEMES, repeat=2):
        true = [tags_of_spans(t, 4, a) for t, _ in pick]
        got = span_scores(true, [tags_of_spans(p, 4, b) for _, p in pick])
        want = want or got
        assert got == want


def test_frequent_errors() -> None:
    assert frequent_errors([["A", "B"], ["B", "B"]], [["A", "A"], ["A", "C"]], most=1) == [
        ("B", "A", 2)
    ]
