"""For the whole test run: longshort is imported before Keras, so that it chooses the backend."""

import longshort  # isort: skip

import keras
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _names(doctest_namespace):
    """Names that the docstrings' examples use."""
    doctest_namespace.update(np=np, keras=keras, longshort=longshort)
