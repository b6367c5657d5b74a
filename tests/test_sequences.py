"""Sequences: what is refused and why, padding, scaling, reading."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from longshort._errors import DataError
from longshort.data import Standardizer, check_sequences, pad_sequences, read_sequences
from longshort.data._sequences import check_labels

A, B = np.ones((3, 2)), np.zeros((5, 2), dtype=np.float32)


def test_accepts() -> None:
    assert [x.shape for x in check_sequences(np.ones((4, 3, 2)))] == [(3, 2)] * 4
    assert [x.dtype for x in check_sequences([A, B])] == [np.float64, np.float32]
    assert check_sequences([[[1, 2], [3, 4]]])[0].tolist() == [[1, 2], [3, 4]]
    assert check_sequences(x for x in (A, B))[1].shape == (5, 2)
    ragged = np.empty(2, dtype=object)
    ragged[:] = [A, B]
    assert len(check_sequences(ragged)) == 2


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones((4, 3)), "X[:, :, None]; for a single sequence: X[None]"),
        (np.ones(4), "got (4,)"),
        (np.ones((1, 2, 3, 4)), "expected sequences of shape (n, T, D)"),
        ([A, np.ones(3)], "X[1]: expected a sequence of shape (T, D), got (3,). Add the channel"),
        ([A, np.ones((3, 3))], "X[1]: expected 2 channels, got 3"),
        ([A, np.ones((0, 2))], "X[1]: expected at least one step"),
        ([A, np.ones((3, 0))], "X[1]: expected 2 channels, got 0"),
        ([np.ones((3, 0))], "X[0]: expected at least one channel"),
        ([A, [[1.0, 2.0], [3.0]]], "X[1]: expected an array (T, D), got rows of different lengths"),
        ([A, np.array([["a", "b"]])], "X[1]: expected numbers, got dtype <U1"),
        ([A, np.array([[None, 1]])], "X[1]: expected numbers, got dtype object"),
        ([A, np.array([[1, np.nan]])], "X[1]: expected finite float32 numbers, got nan at step 0"),
        ([np.array([[1], [np.inf]])], "got inf at step 1, channel 0"),
        ([np.array([[1e300]])], "got 1e+300 at step 0"),
        (np.full((2, 3, 1), np.nan), "X[0]: expected finite"),
        ([], "at least one sequence"),
        (np.ones((0, 3, 2)), "at least one sequence"),
        ("text", "got a str"),
        (3, "got a int"),
        (pd.DataFrame({"a": [1.0]}), "got a DataFrame"),
        ([A, *[np.ones(3)] * 5], "(2 more like these.)"),
    ],
)
def test_refuses(X: Any, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        check_sequences(X)


def test_labels() -> None:
    assert check_labels(np.array(["a", "b"]), 2) == ["a", "b"]
    assert [type(label) for label in check_labels([np.int64(1), True], 2)] == [int, bool]
    assert check_labels(np.array([b"a", "é".encode()]), 2) == ["a", "é"]
    assert check_labels(pd.Series([(1, "x"), None]), 2) == [(1, "x"), None]
    for y, message in (
        ([1], "expected 2 labels, one a sequence, got 1"),
        (np.eye(2), "argmax"),
        ("ab", "got a str"),
        ([1, [2]], "y[1]: expected a hashable label, got a list"),
        ([1.0, float("nan")], "y[1]: the label is missing"),
        (pd.Series(["a", pd.NA]), "y[1]: the label is missing"),
        (pd.Series([1, None], dtype="Int64"), "y[1]: the label is missing"),
        (np.array(["2024-01-31"] * 2, dtype="M8[ns]"), "datetime64[ns]. Convert them: y.astype"),
        ([np.datetime64("2024-01-31", "ns")] * 2, "y[0]: a label cannot be a NumPy date"),
        (["a", b"\xff"], "y[1]: the label b'\\xff' is not UTF-8"),
    ):
        with pytest.raises(DataError, match=re.escape(message)):
            check_labels(y, 2)


def test_pad() -> None:
    batch, mask = pad_sequences([A, B], length=6)
    assert batch.shape == (2, 6, 2) and batch.dtype == np.float32
    assert mask.sum(axis=1).tolist() == [3, 5]
    assert (batch[0, :3] == 1).all() and not batch[0, 3:].any()
    with pytest.raises(DataError, match="has 5 steps"):
        pad_sequences([A, B], length=4)
    with pytest.raises(DataError, match="there are 2 sequences, size is 1"):
        pad_sequences([A, B], size=1)
    batch, mask = pad_sequences([A], 4, size=3)
    assert batch.shape == (3, 4, 2) and not batch[1:].any()
    assert mask.sum(axis=1).tolist() == [3, 0, 0]
    tokens, mask = pad_sequences([np.array([4, 2]), np.array([9])], dtype="int32")
    assert tokens.tolist() == [[4, 2], [9, 0]] and tokens.dtype == np.int32
    assert mask.tolist() == [[True, True], [True, False]]


FLOATS = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


@given(
    st.lists(
        hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(2)), elements=FLOATS),
        min_size=1,
        max_size=5,
    )
)
def test_standardizer(sequences: list[np.ndarray]) -> None:
    scaler = Standardizer.fit(sequences)
    assert (scaler.scale > 0).all()
    scaled = np.concatenate(scaler.transform(sequences))
    steps = np.concatenate(sequences)
    assert scaled.dtype == np.float32
    assert np.abs(scaled).max() <= np.sqrt(len(steps)) * 1.001 + 1e-6
    np.testing.assert_allclose(scaled * scaler.scale + scaler.mean, steps, rtol=1e-5, atol=1)


def test_standardizer_keeps_constant_channels_and_large_offsets() -> None:
    x = np.stack([np.full(1000, 0.1), 1.7e9 + np.arange(1000)], axis=1)
    scaled = Standardizer.fit([x]).transform([x])[0]
    assert np.abs(scaled[:, 0]).max() < 1e-6  # constant: not blown up
    np.testing.assert_allclose(np.diff(scaled[:, 1]), np.sqrt(12) / 1000, rtol=1e-3)
    # What was constant in training may move later.
    moved = Standardizer.fit([x]).transform([x + 1])[0]
    np.testing.assert_allclose(moved[:, 0], 1, rtol=1e-5)


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, X=np.ones((4, 3, 2)), y=np.array(["a", "b", "a", "b"]))
    X, y, ids, features = read_sequences(path)
    assert len(X) == 4 and y == ["a", "b", "a", "b"] and ids == [0, 1, 2, 3] and features is None
    np.savez(path, X=np.concatenate([A, B]), lengths=[3, 5])
    X, y, *_ = read_sequences(path)
    assert [len(x) for x in X] == [3, 5] and y is None
    np.testing.assert_array_equal(X[1], B)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.array([A, B], dtype=object)}, "lengths=[len(x) for x in X]"),
        ({"X": np.ones((2, 3, 1)), "y": np.array(["a", None], dtype=object)}, "pickle"),
        ({"x": np.ones((2, 3, 1))}, "expected an array X"),
        ({"X": np.ones((2, 3, 1)), "y": np.ones(3)}, "expected 2 labels"),
        ({"X": np.ones((8, 2)), "lengths": [3, 4]}, "sum to the 8 steps of X, they sum to 7"),
        ({"X": np.ones((8, 2)), "lengths": [8, 0]}, "must be positive"),
        ({"X": np.ones((8, 2)), "lengths": [8.0]}, "of integers"),
        ({"X": np.ones((8, 2, 1)), "lengths": [8]}, "(steps, D)"),
        ({"X": np.ones((8, 2))}, "X[:, :, None]"),
    ],
)
def test_npz_refuses(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DataError, match=re.escape(message)):
        read_sequences(tmp_path / "data.npz")


def test_damaged(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    with pytest.raises(DataError, match="no such file"):
        read_sequences(path)
    np.savez(path, X=np.ones((2, 3, 1)))
    whole = path.read_bytes()
    for content in (b"", b"hello", whole[:100]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not an .npz file, or damaged"):
            read_sequences(path)


TABLE = pd.DataFrame(
    {
        "unique_id": ["s2", "s2", "s1", "s1", "s1"],
        "ds": [1, 0, 2, 0, 1],
        "z": [1.0, 0.0, 12.0, 10.0, 11.0],
        "a": [5, 4, 3, 1, 2],
        "label": ["up", "up", "down", "down", "down"],
    }
)


def write(table: pd.DataFrame, folder: Path) -> Path:
    table.to_csv(folder / "data.csv", index=False)
    return folder / "data.csv"


def test_table(tmp_path: Path) -> None:
    found = read_sequences(write(TABLE, tmp_path))
    assert found.ids == ["s2", "s1"]
    assert found.y == ["up", "down"]
    assert found.features == ["a", "z"]
    assert found.X[1].tolist() == [[1, 10], [2, 11], [3, 12]]
    shuffled = read_sequences(write(TABLE[["a", "label", "ds", "z", "unique_id"]], tmp_path))
    assert all(np.array_equal(x, y) for x, y in zip(shuffled.X, found.X, strict=True))
    assert read_sequences(write(TABLE.drop(columns="label"), tmp_path)).y is None


def test_table_with_dates_and_other_names(tmp_path: Path) -> None:
    names = {"unique_id": "id", "ds": "day", "label": "kind"}
    table = TABLE.assign(ds=[f"2024-01-{9 + d:02}" for d in TABLE["ds"]]).rename(columns=names)
    found = read_sequences(write(table, tmp_path), id_col="id", time_col="day", label_col="kind")
    assert found.X[0].tolist() == [[4, 0], [5, 1]] and found.y == ["up", "down"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": ["up", "down", "down", "down", "down"]}, "unique_id s2 has down, up"),
        ({"label": ["up", "up", None, None, None]}, "label of unique_id s1 is missing"),
        ({"z": [1.0, 0.0, np.nan, 1.0, 1.0]}, "unique_id s1: expected finite float32 numbers"),
        ({"z": list("abcde")}, "the channels must be numbers; drop or convert z"),
        ({"ds": [0, 0, 2, 0, 1]}, "unique_id s2 has ds 0 twice"),
        ({"ds": ["x", "y", "z", "u", "v"]}, "ds must be a number or a date as 2024-01-31"),
        ({"ds": [0, 1, None, 0, 1]}, "ds is missing in row 2"),
        ({"unique_id": ["a", "a", None, "b", "b"]}, "unique_id is missing in row 2"),
    ],
)
def test_table_refuses(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        read_sequences(write(TABLE.assign(**change), tmp_path))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("label", ["up"], "label must hold text or numbers, got a list"),
        ("label", {"up": 1}, "label must hold text or numbers, got a dict"),
        ("unique_id", [1], "unique_id must hold text or numbers, got a list"),
    ],
)
def test_json_values_in_a_table(name: str, value: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    table = TABLE.assign(**{name: [value] * 5})
    table.to_json(path, orient="records", lines=True)
    with pytest.raises(DataError, match=message):
        read_sequences(path)


def test_labels_that_nobody_wants(tmp_path: Path) -> None:
    for labels in ([None] * 5, list("abcde")):
        found = read_sequences(write(TABLE.assign(label=labels), tmp_path), labels=False)
        assert found.y is None and found.features == ["a", "z"]
    np.savez(tmp_path / "data.npz", X=np.ones((2, 3, 1)), y=np.ones(3))
    assert read_sequences(tmp_path / "data.npz", labels=False).y is None


def test_two_options_for_one_column(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must differ, got ds, ds and label"):
        read_sequences(write(TABLE, tmp_path), id_col="ds")


def test_table_without_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing unique_id and ds"):
        read_sequences(write(TABLE[["a"]], tmp_path))
    with pytest.raises(DataError, match="at least one column of numbers"):
        read_sequences(write(TABLE[["unique_id", "ds", "label"]], tmp_path))
