"""The contract that every task keeps."""

from __future__ import annotations

import inspect
import os
from numbers import Integral, Real
from typing import Any

from longshort._errors import NotFittedError
from longshort.tasks._files import register, save_task


class Task:
    """A job done with an LSTM: `fit`, `predict`, `evaluate`, `save`, `longshort.load`.

    What a subclass promises:

    - The constructor stores hyper-parameters under their own names and does nothing else; they
      are values that :mod:`longshort.tasks._json` can keep (str, int, float, bool, None, tuple,
      list, dict, NumPy array).
    - `fit` returns `self`. What it found out is kept in attributes that end in `_`;
      `model_` is the Keras model, and its presence is what "fitted" means.
    - `_get_state` returns all fitted attributes but the weights; `_set_state` puts them back and
      builds `model_`, with any weights. The base saves and loads the weights.
    - It leaves the global random state alone and writes no file that was not asked for.
    """

    model_: Any

    def _least_bytes(self, state: dict[str, Any]) -> int:
        """Return how many bytes the weights that go with `state` take at least.

        `load` calls it before `_set_state`, to refuse a file that holds fewer: a network that
        memory cannot hold would make XLA end the whole process. Both come from the file, so
        check what is used here, as in `_set_state`.
        """
        return 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register(cls)

    @classmethod
    def _param_names(cls) -> tuple[str, ...]:
        return tuple(name for name in inspect.signature(cls.__init__).parameters if name != "self")

    def get_params(self) -> dict[str, Any]:
        """Return the hyper-parameters by name, in the order of the constructor.

        Example:
            >>> from longshort.tasks import SequenceClassifier
            >>> SequenceClassifier(16, epochs=5).get_params()["epochs"]
            5
        """
        return {name: getattr(self, name) for name in self._param_names()}

    def __repr__(self) -> str:
        """Show the hyper-parameters that differ from their defaults."""
        shown = []
        for name, parameter in inspect.signature(type(self).__init__).parameters.items():
            if name == "self":
                continue
            value = getattr(self, name)
            if parameter.default is inspect.Parameter.empty or not _same(value, parameter.default):
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def _check_fitted(self, action: str = "be used") -> None:
        """Raise NotFittedError unless `fit` has run; `action` completes "before it can ..."."""
        if getattr(self, "model_", None) is None:
            name = type(self).__name__
            raise NotFittedError(
                f"{name}: this {name} has not been fitted. Call fit(...) before it can {action}."
            )

    def _get_state(self) -> dict[str, Any]:
        """Return the fitted state without the weights (values as in `longshort.tasks._json`)."""
        raise NotImplementedError

    def _set_state(self, state: dict[str, Any]) -> None:
        """Restore the fitted attributes from `state` and build `self.model_`.

        The state comes from a file: check it. A KeyError, TypeError or ValueError raised here
        is reported as a file that cannot be read. The base loads the weights afterwards.
        """
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted task to one file, to be read by `longshort.load`.

        The file is written beside its final name and renamed at the end, so that an older file
        of that name is whole at any moment.

        Args:
            path: File name; by convention it ends in `.longshort`.

        Raises:
            NotFittedError: If the task was not fitted.
            SaveError: If the file cannot be written or a value cannot be kept in it.
        """
        self._check_fitted("be saved")
        save_task(self, path)


# Larger ones end the whole process within XLA, or take hours to build.
MAX_UNITS, MAX_LAYERS = 65_536, 100
MAX_SEED = 2**63 - 1
PRECISIONS = ("float32", "bfloat16")  # of the products of a training


def check_whole(name: str, value: Any, least: int, most: int) -> list[str]:
    """Return what is wrong with a hyper-parameter that must be a whole number, if anything.

    >>> check_whole("units", 0, 1, MAX_UNITS)
    ['units must be a whole number from 1 to 65536, got 0']
    """
    if is_a(Integral, value) and least <= value <= most:
        return []
    return [f"{name} must be a whole number from {least} to {most}, got {value!r}"]


def is_a(kind: type, value: Any) -> bool:
    """Return whether `value` is of `kind` (Integral, Real); True and False are no numbers."""
    return isinstance(value, kind) and not isinstance(value, bool)


def check_share(name: str, value: Any) -> list[str]:
    """Return what is wrong with a hyper-parameter that must lie from 0 to below 1."""
    if is_a(Real, value) and 0 <= value < 1:
        return []
    return [f"{name} must be a number from 0 to below 1, got {value!r}"]


def check_rate(name: str, value: Any) -> list[str]:
    """Return what is wrong with a learning rate: above 0 and at most 1."""
    if is_a(Real, value) and 0 < value <= 1:
        return []
    return [f"{name} must be a number above 0 and at most 1, got {value!r}"]


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> list[str]:
    """Return what is wrong with a hyper-parameter that must be one of some words."""
    if isinstance(value, str) and value in choices:
        return []
    return [f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}"]


def check_bool(name: str, value: Any) -> list[str]:
    """Return what is wrong with a hyper-parameter that must be True or False."""
    return [] if isinstance(value, bool) else [f"{name} must be True or False, got {value!r}"]


def _same(value: Any, default: Any) -> bool:
    """Compare without tripping over arrays, whose == is no single truth value."""
    if value is default:
        return True
    try:
        return type(value) is type(default) and bool(value == default)
    except ValueError:
        return False
