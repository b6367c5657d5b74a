"""Optimizers of Keras whose step is a kernel."""

from longshort.optimizers._adam import Adam

__all__ = ["Adam"]
