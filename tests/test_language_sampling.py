"""The choice of the next token, and text from tokens as they come."""

from __future__ import annotations

import numpy as np
import pytest

from longshort.tasks._language_sampling import TextStream, choose

P = np.array([0.1, 0.4, 0.3, 0.2])


def shares(draws: int = 1500, **options: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    given = {"temperature": 1.0, "top_k": None, "top_p": None} | options
    found = [choose(np.log(P), rng=rng, **given) for _ in range(draws)]  # type: ignore[arg-type]
    return np.bincount(found, minlength=4) / draws


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, P),
        ({"temperature": 0.5}, P**2 / (P**2).sum()),
        ({"top_k": 2}, [0, 4 / 7, 3 / 7, 0]),
        ({"top_p": 0.7}, [0, 4 / 7, 3 / 7, 0]),  # two reach it exactly
        ({"top_p": 0.71}, [0, 4 / 9, 3 / 9, 2 / 9]),
        ({"top_k": 3, "top_p": 0.5}, [0, 4 / 7, 3 / 7, 0]),  # 4/9 alone is not enough
        ({"top_p": 1e-9}, [0, 1, 0, 0]),
        ({"temperature": 0}, [0, 1, 0, 0]),
        ({"temperature": 1e-300}, [0, 1, 0, 0]),
        ({"top_k": 99, "top_p": 1.0}, P),
    ],
)
def test_shares(options: dict[str, float], expected: list[float]) -> None:
    found = shares(**options)
    np.testing.assert_allclose(found, expected, atol=0.045)
    assert not found[np.asarray(expected) == 0].any()


def test_what_is_excluded_is_never_drawn() -> None:
    logits = np.array([-np.inf, 0.0, -np.inf, 0.0])
    rng = np.random.default_rng(0)
    assert {choose(logits, 5.0, None, None, rng) for _ in range(100)} == {1, 3}


def letters(ids: object) -> str:
    return bytes(ids).decode(errors="replace")  # type: ignore[call-overload]


def all_of(text: str, stops: list[str]) -> str:
    stream = TextStream(letters, [], stops)
    return "".join(map(stream.add, text.encode())) + stream.finish()


@pytest.mark.parametrize(
    ("stops", "expected"),
    [
        ([], "aabaabaac"),
        (["aabaac"], "aab"),
        (["baac", "baab"], "aa"),
        (["x", "aac"], "aabaab"),
        (["aacx"], "aabaabaac"),
        (["a"], ""),
    ],
)
def test_stops(stops: list[str], expected: str) -> None:
    assert all_of("aabaabaac", stops) == expected


def test_bytes_of_a_character_wait_for_one_another() -> None:
    stream = TextStream(letters, [], [])
    assert [stream.add(b) for b in "aé€".encode()] == ["a", "", "é", "", "", "€"]
    broken = TextStream(letters, [], [])
    assert "".join(broken.add(0xFF) for _ in range(9)) + broken.finish() == "\ufffd" * 9


def test_what_is_new_depends_on_what_was_before() -> None:
    words = ["", "go", "on", "."]

    def decode(ids: object) -> str:
        return " ".join(words[i] for i in ids).replace(" .", ".")  # type: ignore[attr-defined]

    stream = TextStream(decode, [1], [])
    assert [stream.add(2), stream.add(3), stream.add(1)] == [" on", ".", " go"]
