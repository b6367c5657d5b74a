"""Recordings as a transcriber takes them: files or arrays, at one rate, with names for errors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longshort._errors import DataError
from longshort.data._audio import check_samples, read_audio, resample
from longshort.layers._ctc import frames_needed
from longshort.tasks._alphabet import Alphabet, clean

Samples = NDArray[np.float32]


def check_list(audio: Any, name: str = "audio") -> list[Any]:
    """Return recordings as a list of paths and arrays; one alone would be iterated over."""
    if isinstance(audio, str | os.PathLike) or (
        isinstance(audio, np.ndarray) and audio.dtype != object and audio.ndim == 1
    ):
        raise DataError(f"{name}: expected a list of recordings, got one; write [{name}].")
    found = list(audio)
    if not found:
        raise DataError(f"{name}: expected at least one recording, got none.")
    return found


def name_of(recording: Any, number: int, name: str = "audio") -> str:
    """Return how an error names a recording: its path, or its place in the list."""
    is_path = isinstance(recording, str | os.PathLike)
    return str(recording) if is_path else f"{name}[{number}]"


def recordings(
    audio: Sequence[Any],
    given: int | None,
    wanted: int | None,
    *,
    convert: bool = True,
    name: str = "audio",
) -> Iterator[tuple[Samples, int]]:
    """Yield each recording's samples and their rate.

    Args:
        audio: Paths and arrays.
        given: Rate of the arrays.
        wanted: Rate to have them at; None: that of the first.
        convert: Whether to resample a recording of another rate, or to refuse it.
        name: Of the list, for errors.

    Raises:
        DataError: A recording cannot be used; the message begins with its name.
    """
    for i, one in enumerate(audio):
        called = name_of(one, i, name)
        if isinstance(one, str | os.PathLike):
            samples, rate = read_audio(one)
        elif given is None:
            raise DataError(f"{called}: samples without a rate; pass sample_rate.")
        else:
            samples, rate = check_samples(one, given, called), int(given)
        wanted = rate if wanted is None else wanted
        if rate != wanted and not convert:
            raise DataError(
                f"{called}: has {rate} samples a second, the model works with {wanted} and "
                "resample=False; resample it, or let the model do it."
            )
        yield resample(samples, rate, wanted), wanted


def check_pairs(audio: Any, texts: Any, name: str, other: str) -> tuple[list[Any], list[str]]:
    """Return recordings and as many texts, with one space between words, or raise a DataError."""
    found = check_list(audio, name)
    if isinstance(texts, str):
        raise DataError(f"{other}: expected a list of texts, got one; write [{other}].")
    said = list(texts)
    if len(found) != len(said):
        raise DataError(
            f"{name} and {other}: expected as many texts as recordings, got {len(said)} for "
            f"{len(found)}."
        )
    pairs = zip(found, said, strict=True)
    return found, [clean(text, name_of(one, i, name)) for i, (one, text) in enumerate(pairs)]


def fitting_labels(
    audio: Sequence[Any],
    texts: Sequence[str],
    rooms: Sequence[int],
    tokens: Alphabet,
    seconds: float,
    name: str,
) -> list[tuple[int, ...]]:
    """Return the labels of each text.

    Args:
        audio: Recordings, for their names.
        texts: What is said in them.
        rooms: Steps that each has.
        tokens: The labels.
        seconds: Of a step.
        name: Of the list, for errors.

    Raises:
        DataError: A text has a label that is not there, or its recording too few steps for it.
    """
    found = []
    for i, (text, room) in enumerate(zip(texts, rooms, strict=True)):
        called = name_of(audio[i], i, name)
        try:
            labels = tokens.encode(text)
        except DataError as error:
            raise DataError(f"{called}: its text {text!r} {error}") from None
        needed = frames_needed(labels)
        if needed > room:
            raise DataError(
                f"{called}: its text {text!r} needs {needed} steps, one a label and one between "
                f"equal ones, but the recording has {room} of {1000 * seconds:g} ms; make "
                "reduction or hop smaller, or leave it out."
            )
        found.append(labels)
    return found
