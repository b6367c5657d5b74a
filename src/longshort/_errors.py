"""Exceptions and warnings.

LongshortError
├── DataError (ValueError)          a table, array or argument that cannot be used
├── NotFittedError (ValueError, AttributeError)   a task was used before `fit`
├── FileFormatError (ValueError)    a `.longshort` file that cannot be read
├── SaveError (OSError)             a file that cannot be written
└── KernelError (RuntimeError)      the kernel library refused a call

PathWarning (UserWarning)           a call runs on another path than the fused kernel
"""

from __future__ import annotations


class LongshortError(Exception):
    """Base class of every error that longshort raises on purpose."""


class DataError(LongshortError, ValueError):
    """A table, array or argument that cannot be used; the message says what to do."""


class NotFittedError(LongshortError, ValueError, AttributeError):
    """A task was asked to predict, evaluate or save before `fit`."""


class FileFormatError(LongshortError, ValueError):
    """A `.longshort` file that is truncated, foreign or made by something else."""


class SaveError(LongshortError, OSError):
    """A file could not be written; an older file of that name is left as it was."""


class KernelError(LongshortError, RuntimeError):
    """The kernel library refused a call or could not be set up as asked."""


class PathWarning(UserWarning):
    """A call runs on another path than the fused kernel; the message names the reason."""
