"""The `.longshort` file: `task.json` and `model.keras` in a zip, and no code.

`task.json` holds the format version, the class, the hyper-parameters, the fitted state and the
versions that wrote it. `model.keras` is an ordinary Keras file, so that the network can also be
read without longshort; `load` takes only the weights from it and builds the network itself, from
the hyper-parameters, with a class found in the registry below. Nothing in a file names code.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from longshort._errors import FileFormatError, NotFittedError, SaveError
from longshort.tasks._json import decode, encode

if TYPE_CHECKING:
    from longshort.tasks._base import Task

FORMAT = 1
_TASK, _MODEL = "task.json", "model.keras"
_MAX_JSON = 256 * 2**20
_MODEL_ENTRIES = {"metadata.json", "config.json", "model.weights.h5"}

# What zipfile raises on damaged bytes; the last two for flags and methods that make no sense.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)

_registry: dict[str, type[Task]] = {}


def register(cls: type[Task]) -> None:
    """Make `load` know a class; called for every subclass of Task."""
    _registry[_class_name(cls)] = cls


def _class_name(cls: type) -> str:
    """Plain for our own classes, with the module for a user's: theirs cannot replace ours."""
    own = cls.__module__.startswith("longshort.")
    return cls.__qualname__ if own else f"{cls.__module__}.{cls.__qualname__}"


def save_task(task: Task, path: str | os.PathLike[str]) -> None:
    """Write a fitted task to `path`; see `Task.save`."""
    import keras

    import longshort

    name = type(task).__name__
    try:
        content = {
            "format": FORMAT,
            "class": _class_name(type(task)),
            "params": {key: encode(value, where=key) for key, value in task.get_params().items()},
            "state": {key: encode(value, where=key) for key, value in task._get_state().items()},
            "versions": {
                "longshort": longshort.__version__,
                "keras": keras.__version__,
                "python": platform.python_version(),
            },
        }
    except TypeError as error:
        raise SaveError(f"{name}: cannot save, {error}.") from None
    text = json.dumps(content, allow_nan=False).encode()
    if len(text) > _MAX_JSON:
        raise SaveError(
            f"{name}: the fitted state takes {len(text) / 2**20:.0f} MiB, a file holds at most "
            f"{_MAX_JSON // 2**20}. Fit on fewer series."
        )

    def write(file: BinaryIO) -> None:
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / _MODEL
            with warnings.catch_warnings():
                # Keras reads its variables in a way that NumPy 2 deprecates.
                warnings.filterwarnings("ignore", "__array__", DeprecationWarning)
                task.model_.save(model)
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr(_TASK, text, compress_type=zipfile.ZIP_DEFLATED)
                archive.write(model, _MODEL, compress_type=zipfile.ZIP_STORED)

    write_file(path, write)


def load(path: str | os.PathLike[str]) -> Any:
    """Read a task that `save` wrote; it predicts bit for bit what the saved one did.

    No code in the file is run: it is safe to load a file from someone else.

    Args:
        path: The `.longshort` file.

    Returns:
        The fitted task, of the class that was saved.

    Raises:
        FileFormatError: If there is no such file, or it is truncated, foreign, made by a newer
            longshort, or holds anything unexpected.

    Example:
        >>> from longshort.tasks import load
        >>> load("nothing.longshort")
        Traceback (most recent call last):
        ...
        longshort._errors.FileFormatError: nothing.longshort: there is no such file.
    """
    try:
        with zipfile.ZipFile(_file_name(path)) as archive:
            if set(archive.namelist()) == _MODEL_ENTRIES:
                # The end of what is left of a file is the end of the zip inside it.
                raise _Broken("is cut off, or a plain Keras file. Copy it again or save it anew.")
            _check_entries(archive, {_TASK, _MODEL})
            task = _build(_read_json(archive), archive.getinfo(_MODEL).file_size)
            with tempfile.TemporaryDirectory() as folder:
                # Fixed name: nothing that the file says becomes a path.
                model = Path(folder) / _MODEL
                with archive.open(_MODEL) as source, open(model, "wb") as target:
                    while block := source.read(2**20):
                        target.write(block)
                _load_weights(task, model)
    except FileNotFoundError:
        raise FileFormatError(f"{path}: there is no such file.") from None
    except _DAMAGED:
        raise FileFormatError(
            f"{path}: not a .longshort file, or cut off. Copy it again or save it anew."
        ) from None
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except _Broken as error:
        raise FileFormatError(f"{path}: {error}") from None
    except ValueError as error:
        raise FileFormatError(f"{path!r}: cannot be read: {error}.") from None
    return task


def _file_name(path: Any) -> str:
    """Return `path` as a string, or say in a ValueError why it can name no file."""
    try:
        name = os.fspath(path)
    except TypeError:
        raise ValueError(f"expected a file name, got a {type(path).__name__}") from None
    if b"\0" in os.fsencode(name):
        raise ValueError("a file name cannot hold a null character")
    return os.fsdecode(name)


def write_file(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all.

    `write` gets a new file beside the target, which takes the target's name once it is on disk;
    where it fails the older file stays and the new one is removed.

    Raises:
        SaveError: If the file cannot be written.
    """
    try:
        target = os.path.realpath(_file_name(path))
    except ValueError as error:
        raise SaveError(f"{path!r}: cannot be written: {error}.") from None
    if os.path.exists(path) and not os.path.isfile(path):
        raise SaveError(f"{path}: cannot be written, it is not a regular file.")
    temporary = f"{target}.{secrets.token_hex(4)}.tmp"
    try:
        with _create(temporary) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise SaveError(f"{path}: cannot be written: {error.strerror or error}.") from None
    finally:
        with suppress(OSError):
            os.unlink(temporary)


def _create(path: str) -> BinaryIO:
    return open(path, "xb")


class _Broken(Exception):
    """What is wrong with a file, as the rest of a sentence that begins with its name."""


def _check_entries(archive: zipfile.ZipFile, expected: set[str]) -> None:
    names = archive.namelist()
    unexpected = sorted({ascii(name) for name in names if name not in expected})
    if unexpected:
        raise _Broken(f"holds unexpected entries ({', '.join(unexpected[:3])}); it is not ours.")
    missing = sorted(expected - set(names))
    if missing:
        raise _Broken(f"lacks {' and '.join(missing)}. Save it anew.")
    if len(names) != len(expected):
        raise _Broken("holds an entry twice; it is not ours.")
    for entry in archive.infolist():
        if entry.flag_bits & 0x1:
            raise _Broken(f"{entry.filename} in it is encrypted; it is not ours.")
        if entry.filename == _TASK:
            if entry.file_size > _MAX_JSON:
                raise _Broken(
                    f"{_TASK} in it claims {entry.file_size / 2**20:.0f} MiB, more than the "
                    f"{_MAX_JSON // 2**20} that are allowed."
                )
        # Ours are stored uncompressed, so no entry can be larger than the file is.
        elif entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise _Broken(f"{entry.filename} in it is compressed; it is not ours.")


def _read_json(archive: zipfile.ZipFile) -> dict[str, Any]:
    try:
        content = json.loads(archive.read(_TASK))
    except (ValueError, RecursionError):
        raise _Broken(f"{_TASK} in it is not valid JSON. Save it anew.") from None
    if not isinstance(content, dict) or type(content.get("format")) is not int:
        raise _Broken(f"{_TASK} in it has no format number; it is not ours.")
    if content["format"] < 1:
        raise _Broken(f"has the format number {content['format']}; it is not ours.")
    if content["format"] > FORMAT:
        raise _Broken(
            f"written in format {content['format']}, this longshort reads up to {FORMAT}. "
            "Upgrade longshort."
        )
    for key, kind in {"class": str, "params": dict, "state": dict}.items():
        if not isinstance(content.get(key), kind):
            raise _Broken(f"{key!r} in its {_TASK} is missing or of the wrong type.")
    return content


def _build(content: dict[str, Any], model_bytes: int) -> Task:
    import longshort.tasks  # noqa: F401  (registers our own classes)

    name = content["class"]
    if name not in _registry:
        known = ", ".join(sorted(key for key in _registry if "." not in key))
        raise _Broken(f"holds a {name[:80]!r}, which is not known here; known are {known}.")
    try:
        params, state = decode(content["params"]), decode(content["state"])
        unknown = sorted(set(params) - set(_registry[name]._param_names()))
        if unknown:
            raise ValueError(f"there is no hyper-parameter {unknown[0][:80]!r}")
        task = _registry[name](**params)  # what an older file lacks takes its default
        if task._least_bytes(state) > model_bytes:
            raise ValueError(f"{_MODEL} is too small for its hyper-parameters")
        task._set_state(state)
        task._check_fitted()
    except KeyError as error:
        raise _Broken(f"its {_TASK} does not describe a {name}: {error} is missing.") from None
    except (
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        OverflowError,
        MemoryError,
        RuntimeError,
        NotFittedError,
    ) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0].rstrip(".")[:200]
        raise _Broken(f"its {_TASK} does not describe a {name}: {reason}.") from None
    return task


def _load_weights(task: Task, path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(archive, _MODEL_ENTRIES)
            if archive.testzip() is not None:
                raise zipfile.BadZipFile
        with warnings.catch_warnings():
            # Keras only warns of layers that the file lacks, and leaves them at random.
            warnings.filterwarnings("error", "Skipping", UserWarning)
            task.model_.load_weights(path)
    except _DAMAGED:
        raise _Broken(f"{_MODEL} in it is damaged. Copy it again or save it anew.") from None
    except (ValueError, KeyError, TypeError, OSError, UserWarning):
        raise _Broken(
            f"the weights do not fit the {type(task).__name__} that its {_TASK} describes."
        ) from None
