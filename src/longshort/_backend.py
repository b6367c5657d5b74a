"""Choose Keras' backend: JAX, unless the user chose another.

Imported before anything that imports Keras.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def choose_backend() -> None:
    """Set `KERAS_BACKEND=jax` unless Keras is imported or the user has chosen.

    A choice is the environment variable `KERAS_BACKEND`, or a `backend` other than TensorFlow in
    keras.json (in `KERAS_HOME`, default `~/.keras`): Keras itself writes `tensorflow` there when it
    is first imported, whatever the user wants. TensorFlow is chosen by the variable.
    """
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND"):
        return
    if _configured_backend() is None:
        os.environ["KERAS_BACKEND"] = "jax"


def _configured_backend() -> str | None:
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        backend = json.loads((home / "keras.json").read_text()).get("backend")
    except (OSError, ValueError):
        return None
    return None if backend == "tensorflow" else backend
