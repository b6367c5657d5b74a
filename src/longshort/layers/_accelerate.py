"""Move the layers of an existing Keras model onto the fused ones, and back."""

from __future__ import annotations

import keras

from longshort._errors import DataError
from longshort.layers._bidirectional import Bidirectional
from longshort.layers._cell import LSTMCell
from longshort.layers._conv import Conv1D
from longshort.layers._dense import Dense
from longshort.layers._gru import GRU
from longshort.layers._lstm import LSTM
from longshort.optimizers import Adam


def accelerate(model: keras.Model) -> keras.Model:
    """Put each LSTM, GRU, Conv1D and Dense of Keras in a model on the fused layer, in place.

    Weights, optimizer and compilation stay as they are; wrappers such as `Bidirectional` and
    nested models are gone through.

    Args:
        model: Any Keras model: sequential, functional or subclassed.

    Returns:
        The same model.

    Raises:
        DataError: Not a Keras model.

    >>> model = keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(4)])
    >>> type(longshort.accelerate(model).layers[0])
    <class 'longshort.layers._lstm.LSTM'>
    """
    classes: dict[type, type] = {
        keras.layers.LSTM: LSTM,
        keras.layers.GRU: GRU,
        keras.layers.Conv1D: Conv1D,
        keras.layers.Dense: Dense,
        keras.layers.Bidirectional: Bidirectional,
    }
    return _exchange(model, classes)


def to_keras(model: keras.Model) -> keras.Model:
    """The way back: put each fused layer, and `Adam`, of a model on Keras' own class, in place.

    What is then saved loads in plain Keras, where longshort is not installed.

    Args:
        model: Any Keras model.

    Returns:
        The same model.

    Raises:
        DataError: Not a Keras model, or one with layers whose options Keras does not have
            (`peephole` and the others of `longshort.layers.LSTM`); nothing is changed then.

    >>> model = keras.Sequential([keras.Input((5, 3)), longshort.layers.LSTM(4)])
    >>> type(longshort.to_keras(model).layers[0]).__module__
    'keras.src.layers.rnn.lstm'
    """
    classes: dict[type, type] = {
        LSTM: keras.layers.LSTM,
        GRU: keras.layers.GRU,
        Conv1D: keras.layers.Conv1D,
        Dense: keras.layers.Dense,
        LSTMCell: keras.layers.LSTMCell,
        Bidirectional: keras.layers.Bidirectional,
    }
    _refuse_variants(model)
    _exchange(model, classes)
    optimizer = getattr(model, "optimizer", None)
    while optimizer is not None:  # one that scales losses holds another
        if type(optimizer) is Adam:
            optimizer.__class__ = keras.optimizers.Adam
        optimizer = getattr(optimizer, "inner_optimizer", None)
    return model


def _refuse_variants(model: keras.Model) -> None:
    layers = model._flatten_layers() if isinstance(model, keras.layers.Layer) else []
    found = [layer for layer in layers if isinstance(layer, (LSTM, LSTMCell))]
    inner = [layer.cell for layer in found if isinstance(layer, LSTM)]
    faults = {
        f"{layer.name} with {', '.join(layer.variant.config())}"
        for layer in found
        if layer.variant.config() and not any(layer is cell for cell in inner)
    }
    if faults:
        raise DataError(
            "to_keras: expected LSTMs with the options of keras.layers.LSTM only, got "
            f"{'; '.join(sorted(faults))}. Keras has no layer for these: save the model as it is "
            "and load it where longshort is imported."
        )


def _exchange(model: keras.Model, classes: dict[type, type]) -> keras.Model:
    if not isinstance(model, keras.layers.Layer):
        raise DataError(f"expected a Keras model, got {type(model).__name__}.")
    for layer in model._flatten_layers():
        # Each two classes differ in methods only, so exchanging the class keeps weights, names,
        # optimizer state and every reference to the layer, also in subclassed models, whose
        # layers could not be replaced from outside.
        if type(layer) in classes:
            layer.__class__ = classes[type(layer)]
    # Compiled steps hold the old class's code.
    for name in ("train_function", "test_function", "predict_function"):
        setattr(model, name, None)
    return model
