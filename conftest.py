"""Names that the docstrings' examples use."""

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _names(doctest_namespace):
    import keras

    import longshort

    doctest_namespace.update(np=np, keras=keras, longshort=longshort)
