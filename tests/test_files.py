"""The `.longshort` file: what is refused, and that a failed save loses nothing."""

from __future__ import annotations

import errno
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshort._errors import FileFormatError, SaveError
from longshort.tasks import SequenceClassifier, Task, _files, load
from longshort.tasks._json import decode, encode

X = [np.full((3 + i % 2, 2), i % 2.0) + 0.1 * i for i in range(8)]
Y = ["a", ("b", 1)] * 4


@pytest.fixture(scope="module")
def task() -> SequenceClassifier:
    return SequenceClassifier(2, epochs=1, bidirectional=False).fit(X, Y)


@pytest.fixture(scope="module")
def saved(task: SequenceClassifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "task.longshort"
    task.save(path)
    return path


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, content: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def changed(saved: Path, path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Copy a file with its task.json changed."""
    content = entries(saved)
    description = json.loads(content["task.json"])
    change(description)
    return pack(path, content | {"task.json": json.dumps(description).encode()})


def refused(path: Path | str, message: str) -> None:
    with pytest.raises(FileFormatError, match=message) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and text.endswith(".") and "\n" not in text


def test_round_trip(task: SequenceClassifier, saved: Path) -> None:
    again = load(saved)
    assert np.array_equal(again.predict_proba(X), task.predict_proba(X))
    assert again.classes_.tolist() == task.classes_.tolist() == ["a", ("b", 1)]
    assert again.history_ == task.history_
    assert set(entries(saved)) == {"task.json", "model.keras"}
    assert json.loads(entries(saved)["task.json"])["versions"].keys() == {
        "longshort",
        "keras",
        "python",
    }


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.longshort", "no such file")
    refused(tmp_path, "cannot be read")


def test_not_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for content in (b"", b"hello", b"PK\x03\x04" + bytes(100)):
        path.write_bytes(content)
        refused(path, "not a .longshort file, or cut off")


def test_truncated_and_damaged(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    path = tmp_path / "x"
    for part in (0.1, 0.5, 0.9, 0.999):
        path.write_bytes(whole[: int(len(whole) * part)])
        refused(path, "cut off")
    # One bit at many places: each is noticed, or was in a part that means nothing.
    for place in np.linspace(40, len(whole) - 1, 60, dtype=int):
        broken = bytearray(whole)
        broken[place] ^= 0x10
        path.write_bytes(broken)
        try:
            assert np.isfinite(load(path).predict_proba(X)).all()
        except FileFormatError as error:
            assert "\n" not in str(error)


def test_entries(saved: Path, tmp_path: Path) -> None:
    content = entries(saved)
    path = tmp_path / "x"
    for name in ("../evil", "/etc/evil", "sub/task.json", "model.pkl"):
        refused(pack(path, content | {name: b"x"}), "unexpected entries")
    for name in content:
        refused(pack(path, {k: v for k, v in content.items() if k != name}), f"lacks {name}")
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for name, data in [*content.items(), ("task.json", b"{}")]:
            archive.writestr(name, data)
    refused(path, "twice")
    assert not (tmp_path.parent / "evil").exists()


def test_task_json(saved: Path, tmp_path: Path) -> None:
    content, path = entries(saved), tmp_path / "x"
    for text in (b"{", b"\xff\xfe\x00", b"[" * 100_000):
        refused(pack(path, content | {"task.json": text}), "not valid JSON")
    for text in (b"[]", b"{}", b'{"format": "1"}', b'{"format": true}'):
        refused(pack(path, content | {"task.json": text}), "no format number")
    for key in ("class", "params", "state"):
        for value in (None, 3, []):
            refused(
                changed(saved, path, lambda d, k=key, v=value: d.update({k: v})),
                f"{key!r} in its task.json",
            )


def test_newer_format(saved: Path, tmp_path: Path) -> None:
    path = changed(saved, tmp_path / "x", lambda d: d.update(format=_files.FORMAT + 1))
    refused(path, "Upgrade longshort")
    for number in (0, -1):
        path = changed(saved, tmp_path / "x", lambda d, n=number: d.update(format=n))
        refused(path, f"format number {number}")


def test_names_that_name_no_file(task: SequenceClassifier) -> None:
    for name, message in (
        ("a\0b", "null character"),
        (None, "expected a file name, got a NoneType"),
        (1234, "expected a file name, got a int"),
    ):
        for error, use in ((FileFormatError, load), (SaveError, task.save)):
            with pytest.raises(error, match=message) as caught:
                use(name)  # type: ignore[operator]
            assert str(caught.value).startswith(repr(name))


def test_unknown_class(saved: Path, tmp_path: Path) -> None:
    for name in ("Sorcerer", "os.system", "Task"):
        path = changed(saved, tmp_path / "x", lambda d, n=name: d.update({"class": n}))
        refused(path, f"{name}.*known are Forecaster, LanguageModel")


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("params", "units", "many", "whole number"),
        ("params", "units", -1, "whole number"),
        ("params", "units", 10**9, "whole number"),
        ("params", "units", 60_000, "model.keras is too small"),
        ("params", "num_layers", 2000, "whole number"),
        ("params", "standardize", "x", "True or False"),
        ("params", "evil", 1, "no hyper-parameter 'evil'"),
        ("params", "seed", {"!": ["dict", 3]}, "unknown value"),
        ("state", "classes", ["a"], "classes"),
        ("state", "classes", 3, "does not describe"),
        ("state", "classes", [[], {}], "does not describe"),
        ("state", "classes", "ab", "broken classes"),
        ("state", "classes", ["a", "b", "a"], "broken classes"),
        ("state", "num_features", 10**12, "model.keras is too small"),
        ("state", "feature_names", ["a"], "feature_names"),
        ("state", "num_held_out", "x", "num_held_out"),
        ("state", "history", "12", "broken history"),
        ("state", "num_features", "2", "num_features"),
        ("state", "num_features", 0, "num_features"),
        ("state", "majority", 5, "majority is 5"),
        ("state", "scaler", 3, "does not describe"),
        ("state", "scaler", {"!": ["array", "O", [1], "AAAA"]}, "does not describe"),
        ("state", "scaler", {"!": ["array", "<f8", [10**9], "AAAA"]}, "does not describe"),
        ("state", "history", None, "does not describe"),
    ],
)
def test_values(saved: Path, tmp_path: Path, part: str, key: str, value: Any, message: str) -> None:
    refused(changed(saved, tmp_path / "x", lambda d: d[part].update({key: value})), message)


def test_missing_value(saved: Path, tmp_path: Path) -> None:
    refused(changed(saved, tmp_path / "x", lambda d: d["state"].pop("scaler")), "scaler.*missing")


def test_older_file(task: SequenceClassifier, saved: Path, tmp_path: Path) -> None:
    """One that lacks what came later is read with the defaults."""

    def age(description: dict[str, Any]) -> None:
        del description["params"]["patience"]
        del description["state"]["feature_names"], description["state"]["num_held_out"]

    again = load(changed(saved, tmp_path / "x", age))
    assert again.get_params() == task.get_params()
    assert again.feature_names_ is None
    assert np.array_equal(again.predict_proba(X), task.predict_proba(X))


def test_weights_that_do_not_fit(saved: Path, tmp_path: Path) -> None:
    for key, value in {"units": 3, "num_layers": 2, "bidirectional": True}.items():
        path = changed(saved, tmp_path / "x", lambda d, k=key, v=value: d["params"].update({k: v}))
        refused(path, "weights do not fit")


def test_model_entry(saved: Path, tmp_path: Path) -> None:
    content, path = entries(saved), tmp_path / "x"
    refused(pack(path, content | {"model.keras": b"hello"}), "too small")
    refused(pack(path, content | {"model.keras": b"hello" * 1000}), "damaged")
    inner = entries_of_bytes(content["model.keras"])
    for changed_inner, message in (
        (inner | {"../evil": b"x"}, "unexpected"),
        (inner | {"assets/code.py": b"x"}, "unexpected"),
        ({k: v for k, v in inner.items() if k != "config.json"}, "lacks config.json"),
        (inner | {"model.weights.h5": b"no"}, "do not fit"),
    ):
        model = pack(tmp_path / "model", changed_inner).read_bytes()
        refused(pack(path, content | {"model.keras": model}), message)


def entries_of_bytes(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_nothing_in_the_file_is_run(saved: Path, tmp_path: Path) -> None:
    """The network's own description is not even read: any will do."""
    content = entries(saved)
    inner = entries_of_bytes(content["model.keras"])
    inner["config.json"] = b'{"module": "os", "class_name": "system", "config": {"x": "evil"}}'
    model = pack(tmp_path / "model", inner).read_bytes()
    again = load(pack(tmp_path / "x", content | {"model.keras": model}))
    assert np.array_equal(again.predict_proba(X), load(saved).predict_proba(X))


def test_bombs(saved: Path, tmp_path: Path) -> None:
    content, path = entries(saved), tmp_path / "x"
    refused(pack(path, content, zipfile.ZIP_DEFLATED), "model.keras in it is compressed")
    inner = entries_of_bytes(content["model.keras"])
    model = pack(tmp_path / "model", inner, zipfile.ZIP_DEFLATED).read_bytes()
    refused(pack(path, content | {"model.keras": model}), "is compressed")
    bomb = content | {"task.json": b" " * (_files._MAX_JSON + 1)}
    refused(pack(path, bomb, zipfile.ZIP_DEFLATED), "claims 256 MiB")


class Odd:
    pass


def test_labels_that_a_file_cannot_keep(tmp_path: Path) -> None:
    odd = Odd()
    task = SequenceClassifier(2, epochs=1, bidirectional=False).fit(X, [odd, "b"] * 4)
    assert set(task.predict(X)) <= {odd, "b"}
    with pytest.raises(SaveError, match=r"classes\[0\] is a .*Odd.*use str, int"):
        task.save(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_save_replaces_and_leaves_nothing_else(task: SequenceClassifier, tmp_path: Path) -> None:
    path = tmp_path / "x.longshort"
    path.write_text("old")
    task.save(path)
    task.save(str(path))
    assert load(path).get_params() == task.get_params()
    assert list(tmp_path.iterdir()) == [path]


def test_save_through_a_link(task: SequenceClassifier, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    task.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert load(tmp_path / "real").classes_.tolist() == task.classes_.tolist()


class FullDisk(io.FileIO):
    def write(self, data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def open_full_device(path: str) -> Any:
    return open("/dev/full", "wb")


@pytest.mark.parametrize("create", [lambda path: FullDisk(path, "wb"), open_full_device])
def test_full_disk(
    task: SequenceClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, create: Any
) -> None:
    if create is open_full_device and not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    path = tmp_path / "x.longshort"
    path.write_text("old")
    monkeypatch.setattr(_files, "_create", create)
    with pytest.raises(SaveError, match=r"x\.longshort: cannot be written: No space left"):
        task.save(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_interrupted_save(
    task: SequenceClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        task.save(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_unwritable(task: SequenceClassifier, tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="No such file"):
        task.save(tmp_path / "none" / "x")
    with pytest.raises(SaveError, match="not a regular file"):
        task.save(tmp_path)
    if os.path.exists("/dev/full"):
        with pytest.raises(SaveError, match="not a regular file"):
            task.save("/dev/full")
    (tmp_path / "closed").mkdir(mode=0o500)
    if os.access(tmp_path / "closed", os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(SaveError, match="Permission denied"):
        task.save(tmp_path / "closed" / "x")


def test_own_subclass(saved: Path, tmp_path: Path) -> None:
    """A user's class is found while it is defined, and cannot take the place of ours."""

    class SequenceClassifier2(SequenceClassifier):
        pass

    SequenceClassifier2.__qualname__ = "SequenceClassifier"
    SequenceClassifier2.__module__ = "elsewhere"
    _files.register(SequenceClassifier2)
    assert type(load(saved)) is SequenceClassifier
    mine = SequenceClassifier2(2, epochs=1, bidirectional=False).fit(X, Y)
    mine.save(tmp_path / "x")
    assert type(load(tmp_path / "x")) is SequenceClassifier2


def test_hooks_are_required() -> None:
    class Empty(Task):
        def __init__(self) -> None:
            pass

    with pytest.raises(NotImplementedError):
        Empty()._get_state()
    with pytest.raises(NotImplementedError):
        Empty()._set_state({})


LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8"))
)
KEYS = st.text() | st.integers() | st.booleans() | st.tuples(st.integers(), st.text())
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.just("!"), inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_json_keeps_values(value: Any) -> None:
    again = decode(json.loads(json.dumps(encode(value), allow_nan=False)))
    assert repr(again) == repr(value)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.array([1.5, np.nan, -np.inf], dtype=np.float32),
        np.array([True, False]),
        np.array(["a", "é", ""]),
        np.array(["2024-01-31"], dtype="datetime64[ns]"),
        np.zeros((0, 3)),
        np.array(3.5),
    ],
)
def test_json_keeps_arrays(array: np.ndarray) -> None:
    again = decode(json.loads(json.dumps(encode(array))))
    assert again.shape == array.shape
    assert again.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(again, array)


def test_json_refuses() -> None:
    with pytest.raises(TypeError, match=r"state\['a'\]\[1\] is a builtins.set"):
        encode({"a": [1, {2}]}, where="state")
    with pytest.raises(TypeError, match="array of object"):
        encode(np.array([None]))
    assert encode(np.int64(3)) == 3 and type(encode(np.float32(0.5))) is float
    deep: Any = 0
    for _ in range(100):
        deep = [deep]
    with pytest.raises(ValueError, match="deeply"):
        decode(deep)
