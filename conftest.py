"""For the whole test run: longshort is imported before Keras, so that it chooses the backend."""

import longshort  # noqa: F401
