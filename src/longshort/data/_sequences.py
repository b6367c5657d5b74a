"""Sequences of measurements: check, scale, pad and read them.

A sequence is an array (T, D): T steps of D channels. A set of them is an array (n, T, D), or a
list of arrays (T_i, D) where the lengths differ.
"""

from __future__ import annotations

import zipfile
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from longshort._errors import DataError

if TYPE_CHECKING:
    import os

    import pandas as pd
    from numpy.typing import DTypeLike


class SequenceSet(NamedTuple):
    """What `read_sequences` found.

    Attributes:
        X: n arrays (T_i, D).
        y: n labels, or None where the file has none.
        ids: n names: the `unique_id` of a table, else 0 to n - 1.
        features: D channel names of a table, else None.
    """

    X: list[np.ndarray]
    y: list[Hashable] | None
    ids: list[Hashable]
    features: list[str] | None


def check_sequences(X: Any, *, num_features: int | None = None, name: str = "X") -> list[Any]:
    """Check a set of sequences and return it as a list of float arrays.

    Args:
        X: Array (n, T, D), or an iterable of n arrays (T_i, D), of finite numbers.
        num_features: The D that is expected; None takes the first sequence's.
        name: What to call it in messages.

    Returns:
        n arrays (T_i, D): float32 where they were, else float64, so that large offsets (times,
        say) are not rounded before they are scaled.

    Raises:
        DataError: If there is no sequence, or one has another shape, no step, another number of
            channels or a value that is not a finite number; the message has its index.

    Example:
        >>> import numpy as np
        >>> [x.shape for x in check_sequences([np.ones((3, 2)), np.ones((5, 2))])]
        [(3, 2), (5, 2)]
    """
    if isinstance(X, np.ndarray) and X.dtype != object and X.ndim != 3:
        fix = {
            1: f"Pass an array (n, T, D) or a list of arrays (T, D), such as [{name}[:, None]].",
            2: f"For one channel a sequence add the axis: {name}[:, :, None]; "
            f"for a single sequence: {name}[None].",
        }.get(X.ndim, "Pass an array (n, T, D) or a list of arrays (T, D).")
        raise DataError(f"{name}: expected sequences of shape (n, T, D), got {X.shape}. {fix}")
    if isinstance(X, (str, bytes, dict)) or not isinstance(X, Iterable) or hasattr(X, "columns"):
        raise DataError(
            f"{name}: expected an array (n, T, D) or a list of arrays (T, D), "
            f"got a {type(X).__name__}."
        )
    sequences: list[np.ndarray] = []
    faults: list[str] = []
    for i, x in enumerate(X):
        array, fault = _check_one(x, f"{name}[{i}]", num_features)
        if fault:
            faults.append(fault)
            continue
        num_features = array.shape[1] if num_features is None else num_features
        sequences.append(array)
    if faults:
        more = f" ({len(faults) - 3} more like these.)" if len(faults) > 3 else ""
        raise DataError(" ".join(faults[:3]) + more)
    if not sequences:
        raise DataError(f"{name}: expected at least one sequence, got none.")
    return sequences


def _check_one(x: Any, name: str, num_features: int | None) -> tuple[np.ndarray, str]:
    """Return the array and what is wrong with it ("" for nothing)."""
    try:
        array = np.asarray(x)
    except ValueError:  # rows of different lengths
        return np.empty(0), f"{name}: expected an array (T, D), got rows of different lengths."
    if array.dtype.kind not in "biuf":
        return array, (
            f"{name}: expected numbers, got dtype {array.dtype}. Convert it, for example with "
            "np.asarray(x, dtype='float32')."
        )
    if array.ndim != 2:
        fix = " Add the channel axis: x[:, None]." if array.ndim == 1 else ""
        return array, f"{name}: expected a sequence of shape (T, D), got {array.shape}.{fix}"
    T, D = array.shape
    if not T:
        return array, f"{name}: expected at least one step, got {array.shape}. Drop it."
    if not D or (num_features is not None and num_features != D):
        want = "at least one channel" if num_features is None else f"{num_features} channels"
        return array, f"{name}: expected {want}, got {D} (shape {array.shape})."
    array = np.ascontiguousarray(array, dtype="float32" if array.dtype == "float32" else "float64")
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(array) <= np.finfo(np.float32).max)
    if bad.any():
        step, channel = np.argwhere(bad)[0]
        return array, (
            f"{name}: expected finite float32 numbers, got {array[step, channel]} at step {step}, "
            f"channel {channel}. Fill or drop such steps."
        )
    return array, ""


def check_labels(y: Any, n: int, *, name: str = "y") -> list[Hashable]:
    """Check one label for each of `n` sequences and return them as Python values.

    Bytes become str, as NumPy has them where a file has text.

    Raises:
        DataError: If there are more or fewer, or one is missing (NaN), not hashable, bytes that
            are not UTF-8, or a NumPy date.

    Example:
        >>> import numpy as np
        >>> check_labels(np.array([3, 1]), 2)
        [3, 1]
    """
    if isinstance(y, np.ndarray) and y.ndim != 1:
        raise DataError(
            f"{name}: expected one label a sequence, shape ({n},), got {y.shape}. "
            f"For one-hot rows pass {name}.argmax(axis=1)."
        )
    if isinstance(y, (str, bytes)) or not isinstance(y, Iterable) or hasattr(y, "columns"):
        raise DataError(f"{name}: expected a list of {n} labels, got a {type(y).__name__}.")
    if isinstance(y, np.ndarray) and y.dtype.kind in "mM":
        raise DataError(f"{name}: labels cannot be of {y.dtype}. Convert them: {name}.astype(str).")
    labels = y.tolist() if hasattr(y, "tolist") else list(y)
    if len(labels) != n:
        raise DataError(f"{name}: expected {n} labels, one a sequence, got {len(labels)}.")
    for i, label in enumerate(labels):
        if isinstance(label, (np.datetime64, np.timedelta64)):  # item() may be a bare integer
            raise DataError(f"{name}[{i}]: a label cannot be a NumPy date. Convert it to str.")
        if isinstance(label, np.generic):
            labels[i] = label = label.item()
        if isinstance(label, bytes):
            labels[i] = label = _text(label, f"{name}[{i}]")
        try:
            hash(label)
        except TypeError:
            raise DataError(
                f"{name}[{i}]: expected a hashable label, got a {type(label).__name__}. "
                "Use str, int or tuple."
            ) from None
        if _is_missing(label):
            raise DataError(f"{name}[{i}]: the label is missing (NaN). Drop that sequence.")
    return labels


def _text(label: bytes, name: str) -> str:
    try:
        return label.decode()
    except UnicodeDecodeError:
        raise DataError(f"{name}: the label {label!r} is not UTF-8. Decode it to str.") from None


def _is_missing(label: Any) -> bool:
    try:
        return bool(label != label)
    except (TypeError, ValueError):  # pandas.NA has no truth value
        return True


def pad_sequences(
    sequences: Sequence[np.ndarray],
    length: int | None = None,
    *,
    size: int | None = None,
    dtype: DTypeLike = np.float32,
) -> tuple[np.ndarray, np.ndarray]:
    """Join sequences to one batch, zeros behind the shorter ones.

    Args:
        sequences: B arrays (T_i, ...), alike but for T_i.
        length: T of the batch, in steps; None takes the longest.
        size: B of the batch; rows beyond the sequences are padding. None takes their number.
        dtype: Of the batch.

    Returns:
        The batch (B, T, ...) and its mask (B, T), True at real steps.

    Raises:
        DataError: If there are more than `size` sequences, or one has more than `length` steps.

    Example:
        >>> import numpy as np
        >>> batch, mask = pad_sequences([np.ones((1, 1)), np.ones((2, 1))])
        >>> mask.tolist()
        [[True, False], [True, True]]
        >>> batch, mask = pad_sequences([np.array([7, 3])], 3, size=2, dtype="int32")
        >>> batch.tolist()
        [[7, 3, 0], [0, 0, 0]]
    """
    lengths = np.array([len(x) for x in sequences])
    T = int(lengths.max()) if length is None else length
    B = len(sequences) if size is None else size
    if lengths.max() > T:
        raise DataError(f"pad_sequences: a sequence has {lengths.max()} steps, length is {T}.")
    if len(sequences) > B:
        raise DataError(f"pad_sequences: there are {len(sequences)} sequences, size is {B}.")
    batch = np.zeros((B, T, *sequences[0].shape[1:]), dtype=dtype)
    mask = np.zeros((B, T), dtype=bool)
    for i, x in enumerate(sequences):
        batch[i, : len(x)] = x
        mask[i, : len(x)] = True
    return batch, mask


class Standardizer:
    """Scale each channel to mean 0 and deviation 1, as measured on the training part.

    Only real steps are measured, never padding. A channel that is constant in training is
    shifted to 0 and not scaled.

    Attributes:
        mean: (D,) float64.
        scale: (D,) float64, positive.

    Example:
        >>> import numpy as np
        >>> x = np.array([[1.0, 5.0], [3.0, 5.0]])
        >>> Standardizer.fit([x]).transform([x])[0].tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """

    def __init__(self, mean: np.ndarray, scale: np.ndarray) -> None:
        self.mean = np.asarray(mean, dtype=np.float64)
        self.scale = np.asarray(scale, dtype=np.float64)

    @classmethod
    def fit(cls, sequences: Sequence[np.ndarray]) -> Standardizer:
        """Measure the training sequences, n arrays (T_i, D)."""
        steps = np.concatenate(sequences).astype(np.float64)
        # From the first step on: sums of a large offset would be rounded.
        first = steps[0].copy()
        steps -= first
        scale = steps.std(axis=0)
        return cls(first + steps.mean(axis=0), np.where(scale > 0, scale, 1.0))

    def transform(self, sequences: Sequence[np.ndarray], *, name: str = "X") -> list[np.ndarray]:
        """Return the scaled sequences, n arrays (T_i, D), float32.

        Raises:
            DataError: If a value lies so far from those of training that float32 overflows; the
                message has its index, and `name` before it.
        """
        with np.errstate(over="ignore"):
            scaled = [((x - self.mean) / self.scale).astype(np.float32) for x in sequences]
        for i, x in enumerate(scaled):
            if not np.isfinite(x).all():
                step, channel = np.argwhere(~np.isfinite(x))[0]
                raise DataError(
                    f"{name}[{i}]: {sequences[i][step, channel]:g} at step {step}, channel "
                    f"{channel} is too far from the values of training (mean "
                    f"{self.mean[channel]:g}, deviation {self.scale[channel]:g}) to be scaled. "
                    "Check its unit, or drop the sequence."
                )
        return scaled


def read_sequences(
    path: str | os.PathLike[str],
    *,
    id_col: str = "unique_id",
    time_col: str = "ds",
    label_col: str = "label",
    labels: bool = True,
) -> SequenceSet:
    """Read sequences and their labels from a file.

    - An `.npz` file with `X` (n, T, D); or, for sequences of different lengths, `X` (steps of
      all sequences one after the other, D) and `lengths` (n,). `y` (n,) holds the labels and may
      be missing. Arrays of objects are refused: they would have to be unpickled.
    - A table (csv, tsv, parquet, jsonl) with one row a step: `unique_id`, `ds`, and `label`, which
      is the same in all rows of a sequence and may be missing. All other columns are channels,
      taken in alphabetical order, so that the order of columns in a file does not matter. Rows
      are put in the order of `ds`.

    Args:
        path: The file.
        id_col: Column of a table that names the sequence.
        time_col: Column of a table to order the steps by.
        label_col: Column of a table with the label.
        labels: Whether to read the labels where there are some; False: `y` is None, whatever
            that column holds.

    Returns:
        X, y, ids and features; see SequenceSet.

    Raises:
        DataError: If the file is missing or its content cannot be used.
    """
    if not Path(path).is_file():
        raise DataError(f"{path}: there is no such file.")
    if Path(path).suffix.lower() == ".npz":
        return _read_npz(path, labels)
    from longshort.data._tables import read_table

    return _from_table(
        read_table(path, text=[id_col]), str(path), id_col, time_col, label_col, labels
    )


def _read_npz(path: str | os.PathLike[str], labels: bool) -> SequenceSet:
    if not zipfile.is_zipfile(path):  # np.load takes any other file for a pickle
        raise DataError(f"{path}: not an .npz file, or damaged.")
    wanted = ("X", "lengths", "y") if labels else ("X", "lengths")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in wanted if key in file}
    except ValueError as error:
        if "pickle" not in str(error):
            raise DataError(f"{path}: not an .npz file, or damaged.") from None
        raise DataError(
            f"{path}: holds an array of objects, which would need pickle. For sequences of "
            "different lengths write X=np.concatenate(X), lengths=[len(x) for x in X], and "
            "y as an array of strings or numbers."
        ) from None
    except (OSError, zipfile.BadZipFile, EOFError):
        raise DataError(f"{path}: not an .npz file, or damaged.") from None
    if "X" not in arrays:
        raise DataError(f"{path}: expected an array X (n, T, D) in it, found none.")
    X: Any = arrays["X"]
    if "lengths" in arrays:
        lengths = arrays["lengths"]
        if X.ndim != 2 or lengths.ndim != 1 or lengths.dtype.kind not in "iu" or len(lengths) < 1:
            raise DataError(
                f"{path}: with lengths (n,) of integers expected X of shape (steps, D), "
                f"got X {X.shape} and lengths {lengths.shape} of {lengths.dtype}."
            )
        if (lengths < 1).any() or lengths.sum() != len(X):
            raise DataError(
                f"{path}: lengths must be positive and sum to the {len(X)} steps of X, "
                f"they sum to {lengths.sum()}."
            )
        X = np.split(X, np.cumsum(lengths)[:-1])
    X = check_sequences(X)
    y = check_labels(arrays["y"], len(X)) if "y" in arrays else None
    return SequenceSet(X, y, list(range(len(X))), None)


def _from_table(
    table: pd.DataFrame, path: str, id_col: str, time_col: str, label_col: str, labels: bool
) -> SequenceSet:
    import pandas as pd

    if len({id_col, time_col, label_col}) < 3:
        raise DataError(
            f"{path}: the columns of names, times and labels must differ, got {id_col}, "
            f"{time_col} and {label_col}."
        )
    missing = [name for name in (id_col, time_col) if name not in table.columns]
    if missing:
        raise DataError(
            f"{path}: expected the columns {id_col} and {time_col}, missing {' and '.join(missing)}"
            f" (found {', '.join(map(str, table.columns))})."
        )
    features = sorted(str(c) for c in table.columns if c not in (id_col, time_col, label_col))
    if not features:
        raise DataError(f"{path}: expected at least one column of numbers beside {id_col}.")
    words = [c for c in features if not pd.api.types.is_numeric_dtype(table[c])]
    if words:
        raise DataError(
            f"{path}: the channels must be numbers; drop or convert {', '.join(words)}."
        )
    for name in (id_col, time_col):
        if table[name].isna().any():
            row = int(np.argmax(table[name].isna()))
            raise DataError(f"{path}: {name} is missing in row {row}. Fill or drop it.")
    labels = labels and label_col in table.columns
    for name in (id_col, label_col) if labels else (id_col,):
        kinds = [type(v).__name__ for v in table[name] if isinstance(v, (list, dict))]
        if kinds:
            raise DataError(f"{path}: {name} must hold text or numbers, got a {kinds[0]}.")
    table = table.assign(**{time_col: _times(table[time_col], path)})
    if (twice := table.duplicated([id_col, time_col])).any():
        row = table[twice].iloc[0]
        raise DataError(f"{path}: {id_col} {row[id_col]} has {time_col} {row[time_col]} twice.")
    X, y, ids = [], [], []
    for name, rows in table.sort_values(time_col, kind="stable").groupby(id_col, sort=False):
        values = rows[features].to_numpy(dtype=np.float64)
        _, fault = _check_one(values, f"{path}: {id_col} {name}", None)
        if fault:
            raise DataError(fault)
        if labels:
            found = rows[label_col].unique()
            if len(found) != 1:
                raise DataError(
                    f"{path}: {label_col} must be the same in all rows of a sequence, "
                    f"{id_col} {name} has {', '.join(map(str, found[:3]))}."
                )
            if pd.isna(found[0]):
                raise DataError(f"{path}: {label_col} of {id_col} {name} is missing.")
            y.append(found[0])
        X.append(values)
        ids.append(name)
    # Sorting by time mixed the sequences; give them back in the order of the file.
    place = {name: i for i, name in enumerate(table[id_col].unique())}
    order = sorted(range(len(ids)), key=lambda i: place[ids[i]])
    labelled = check_labels([y[i] for i in order], len(X)) if y else None
    return SequenceSet([X[i] for i in order], labelled, [ids[i] for i in order], features)


def _times(column: pd.Series, path: str) -> pd.Series:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return column
    try:
        return pd.to_datetime(column, format="ISO8601")
    except (ValueError, TypeError):
        raise DataError(
            f"{path}: {column.name} must be a number or a date as 2024-01-31, "
            f"got {column.iloc[0]!r}."
        ) from None
