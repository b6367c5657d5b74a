"""Classify whole sequences of measurements."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from longshort._errors import DataError
from longshort.data._sequences import Standardizer, check_labels, check_sequences
from longshort.ops._rounding import usable_precision
from longshort.tasks._base import (
    MAX_LAYERS,
    MAX_SEED,
    MAX_UNITS,
    PRECISIONS,
    Task,
    check_bool,
    check_choice,
    check_rate,
    check_share,
    check_whole,
)
from longshort.tasks._classifier_training import held_out, logits, train
from longshort.tasks._labels import find_classes, index_labels, label_array
from longshort.tasks._member_training import (
    mean_model,
    read_num_members,
    train_alike,
)
from longshort.tasks._pooling import POOLINGS
from longshort.tasks._scores import classification_scores, log_softmax
from longshort.tasks._sequence_net import SequenceNetShape, build_sequence_net
from longshort.tasks._training import Progress


class SequenceClassifier(Task):
    """One label for each sequence of measurements, read by an LSTM.

    An LSTM reads the standardised channels; its last state (both directions' where
    `bidirectional`), or what `pooling` makes of its outputs, goes through dropout and one dense
    layer with softmax. Sequences may differ in length: shorter ones are padded and masked, which
    does not change their answer.

    Args:
        units: Size H of each LSTM layer and direction.
        num_layers: Number of LSTM layers.
        bidirectional: Whether to read each sequence backwards too.
        pooling: How the steps become one vector: "last" (the state after the last step),
            "attention" (a mean of all outputs with weights that are learnt), "mean", "max" or
            "max+mean".
        input_dropout: Share of the measurements that are dropped in training, each for itself.
        dropout: Share of inputs to each layer after the first that are dropped in training.
        label_smoothing: Share of a label's probability that is spread over all classes in training.
        num_members: Networks that are trained one after the other, from different weights, and
            whose logits are averaged.
        learning_rate: Of the Adam optimizer; it falls to zero along a cosine over `epochs`.
        epochs: Most passes over the training part.
        batch_size: Sequences a training step.
        validation_split: Share of the training part, drawn evenly from each class, on which
            training is stopped; 0 for none. Not used where `fit` gets `validation_data`.
        patience: Epochs without a better validation loss after which training stops; the
            weights of the best epoch are kept.
        standardize: Whether to scale each channel to mean 0 and deviation 1, as measured on the
            training part without the validation part.
        precision: Of the LSTMs' products in training: "float32", or "bfloat16": their factors are
            rounded, sums are not, for CPUs that multiply bfloat16 (AMX, AVX-512 BF16; elsewhere
            float32, with a `PathWarning`). All else is float32, predictions too.
        seed: Whole number, decides on everything random.

    Attributes:
        classes_: (K,) the labels in order; columns of `predict_proba`.
        num_features_: D.
        feature_names_: The D channel names that `fit` got, or None.
        num_held_out_: Sequences of the validation part.
        history_: Validation loss of each epoch of the first member (training loss where nothing
            was held out).
        model_: Keras model: (B, T, D) standardised values and (B, T) mask to (B, K) logits.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> X = [rng.normal(size=(5 + i % 3, 2)) + i % 2 * 3 for i in range(24)]
        >>> y = ["low", "high"] * 12
        >>> task = SequenceClassifier(4, epochs=30, learning_rate=0.05).fit(X, y)
        >>> task.predict(X[:2]).tolist()
        ['low', 'high']
    """

    classes_: np.ndarray
    num_features_: int
    feature_names_: list[str] | None
    num_held_out_: int
    history_: list[float]

    # Defaults by 4-fold cross-validation, two seeds, within the training part of JapaneseVowels,
    # accuracy and log loss: dropout 0.2, rate 3e-3, batch 32: 0.967, 0.109; dropout 0.5: 0.976,
    # 0.088; and batch 16, rate 2e-3: 0.976, 0.074. 64 units 0.961, 0.133 (dropout 0.2). Mean or
    # maximum over the steps for the last state: no difference beyond that of seeds.
    def __init__(
        self,
        units: int = 128,
        *,
        num_layers: int = 1,
        bidirectional: bool = True,
        pooling: str = "last",
        input_dropout: float = 0.0,
        dropout: float = 0.5,
        label_smoothing: float = 0.0,
        num_members: int = 1,
        learning_rate: float = 0.002,
        epochs: int = 80,
        batch_size: int = 16,
        validation_split: float = 0.1,
        patience: int = 20,
        standardize: bool = True,
        precision: str = "float32",
        seed: int = 1,
    ) -> None:
        self.units = units
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.pooling = pooling
        self.input_dropout = input_dropout
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.num_members = num_members
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_split = validation_split
        self.patience = patience
        self.standardize = standardize
        self.precision = precision
        self.seed = seed

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        validation_data: tuple[Any, Any] | None = None,
        feature_names: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> SequenceClassifier:
        """Train on sequences and their labels.

        Ctrl-C ends training after the step that runs, with a warning, and keeps the best weights
        so far; before the end of the first epoch it is raised.

        Args:
            X: Array (n, T, D) or n arrays (T_i, D), finite numbers.
            y: n labels of at least two kinds: str, int, or anything hashable.
            validation_data: X and y to stop on, instead of a part of the above.
            feature_names: Names of the D channels, to be kept as `feature_names_` and in the
                file. Arrays have no names, so `predict` cannot compare them; the command line
                does, with the columns of a table.
            progress: Called after each epoch with its number (from 1), `epochs`, and the
                validation loss.

        Returns:
            The task itself.

        Raises:
            DataError: If X, y or a hyper-parameter cannot be used; the message says what to do.
        """
        self._check_params()
        sequences = check_sequences(X)
        labels = check_labels(y, len(sequences))
        classes = find_classes(labels)
        if len(classes) < 2:
            raise DataError(f"SequenceClassifier: y has one label only ({labels[0]!r}), needs two.")
        targets = index_labels(labels, classes, "y")
        num_features = sequences[0].shape[1]
        names = None if feature_names is None else _check_names(feature_names, num_features)
        if validation_data is not None:
            held = check_sequences(
                validation_data[0], num_features=num_features, name="validation X"
            )
            held_labels = check_labels(validation_data[1], len(held), name="validation y")
            held_targets = index_labels(held_labels, classes, "validation y")
            held_name = "validation X"
        else:
            held_name = "the validation part of X, "
            rng = np.random.default_rng([self.seed, 0])
            part = held_out(targets, self.validation_split, rng)
            held = [sequences[i] for i in np.flatnonzero(part)]
            held_targets = targets[part]
            sequences = [sequences[i] for i in np.flatnonzero(~part)]
            targets = targets[~part]
        scaler = Standardizer.fit(sequences) if self.standardize else None
        if scaler is not None:
            sequences = scaler.transform(sequences)
            held = scaler.transform(held, name=held_name)
        longest = max(map(len, sequences))
        weights, history, num_members = self._train(
            self._shape(num_features, len(classes)),
            (sequences, targets, held, held_targets),
            longest,
            usable_precision(self.precision),
            progress,
        )
        # A new model: without the optimizer's state, and exactly what `load` will build.
        model = self._build(num_features, len(classes), num_members)
        model.set_weights(weights)
        self._num_members = num_members
        self.classes_ = label_array(classes)
        self.num_features_, self.feature_names_ = num_features, names
        self.history_, self.num_held_out_ = history, len(held)
        self._classes, self._scaler, self._longest = classes, scaler, longest
        self._majority = int(np.bincount(targets, minlength=len(classes)).argmax())
        self.model_ = model
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class.

        Args:
            X: Array (n, T, D) or n arrays (T_i, D).

        Returns:
            (n, K) float64, rows in the order of X, columns as in `classes_`, rows sum to 1.

        Raises:
            NotFittedError: Before `fit`.
            DataError: If X cannot be used, or has another number of channels than in `fit`.
        """
        self._check_fitted("predict")
        sequences = check_sequences(X, num_features=self.num_features_)
        if self._scaler is not None:
            sequences = self._scaler.transform(sequences)
        return np.exp(log_softmax(logits(self.model_, sequences, self._longest)))

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable label of each sequence, (n,), in the order of X."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def evaluate(self, X: Any, y: Any) -> dict[str, float]:
        """Score the predictions on sequences that were not trained on.

        Args:
            X: Array (n, T, D) or n arrays (T_i, D).
            y: n labels, all of which occurred in training.

        Returns:
            accuracy, balanced_accuracy, macro_f1, log_loss (nats) and, to compare with,
            majority_accuracy: that of always guessing the most frequent label of the training.

        Raises:
            NotFittedError: Before `fit`.
            DataError: If X or y cannot be used, or a label did not occur in training.
        """
        self._check_fitted("be evaluated")
        sequences = check_sequences(X, num_features=self.num_features_)
        targets = index_labels(check_labels(y, len(sequences)), self._classes, "y")
        return classification_scores(targets, self.predict_proba(sequences), self._majority)

    def _check_params(self) -> None:
        faults = [
            *check_whole("units", self.units, 1, MAX_UNITS),
            *check_whole("num_layers", self.num_layers, 1, MAX_LAYERS),
            *check_bool("bidirectional", self.bidirectional),
            *check_choice("pooling", self.pooling, POOLINGS),
            *check_share("input_dropout", self.input_dropout),
            *check_share("dropout", self.dropout),
            *check_share("label_smoothing", self.label_smoothing),
            *check_whole("num_members", self.num_members, 1, MAX_LAYERS),
            *check_rate("learning_rate", self.learning_rate),
            *check_whole("epochs", self.epochs, 1, 10**9),
            *check_whole("batch_size", self.batch_size, 1, 10**6),
            *check_share("validation_split", self.validation_split),
            *check_whole("patience", self.patience, 1, 10**9),
            *check_bool("standardize", self.standardize),
            *check_choice("precision", self.precision, PRECISIONS),
            *check_whole("seed", self.seed, 0, MAX_SEED),
        ]
        if faults:
            raise DataError(f"SequenceClassifier: {'; '.join(faults)}.")

    def _shape(self, num_features: int, num_classes: int) -> SequenceNetShape:
        sizes = (self.units, self.num_layers, self.bidirectional, self.pooling)
        dropouts = self.input_dropout, self.dropout
        return SequenceNetShape(num_features, num_classes, *sizes, *dropouts)

    def _build(self, num_features: int, num_classes: int, num_members: int) -> Any:
        """Build the Keras model ((B, T, D), (B, T)) to (B, K)."""
        build = partial(build_sequence_net, self._shape(num_features, num_classes))
        return mean_model(build, self.seed, num_members, "sequence_classifier")

    def _train(
        self,
        shape: SequenceNetShape,
        data: tuple[Any, ...],
        longest: int,
        precision: str,
        progress: Progress | None,
    ) -> tuple[list[np.ndarray], list[float], int]:
        return train_alike(
            lambda seed: build_sequence_net(shape, seed),
            lambda net, **given: train(net, *data, **given),
            self.seed,
            self.num_members,
            learning_rate=self.learning_rate,
            epochs=self.epochs,
            batch_size=self.batch_size,
            patience=self.patience,
            precision=precision,
            label_smoothing=self.label_smoothing,
            longest=longest,
            progress=progress,
        )

    def _get_state(self) -> dict[str, Any]:
        scaler = self._scaler
        return {
            "classes": self._classes,
            "majority": self._majority,
            "num_members": self._num_members,
            "num_features": self.num_features_,
            "feature_names": self.feature_names_,
            "num_held_out": self.num_held_out_,
            "longest": self._longest,
            "scaler": None if scaler is None else (scaler.mean, scaler.scale),
            "history": self.history_,
        }

    def _least_bytes(self, state: dict[str, Any]) -> int:
        self._check_params()
        for name in ("num_features", "longest", "majority"):
            if type(state[name]) is not int or state[name] < (name != "majority"):
                raise ValueError(f"{name} is {state[name]!r}")
        weights = self._shape(state["num_features"], 0).num_weights()
        return 2 * read_num_members(state) * weights  # 2 bytes, of half precision

    def _set_state(self, state: dict[str, Any]) -> None:
        classes, num_features, scaler = state["classes"], state["num_features"], state["scaler"]
        # The last two are newer than the format.
        names, num_held_out = state.get("feature_names"), state.get("num_held_out", 0)
        if type(classes) is not list or len(set(classes)) < len(classes) or len(classes) < 2:
            raise ValueError("broken classes")
        if state["majority"] >= len(classes):
            raise ValueError(f"majority is {state['majority']!r}")
        if type(state["history"]) is not list:
            raise ValueError("broken history")
        if type(num_held_out) is not int:
            raise ValueError(f"num_held_out is {num_held_out!r}")
        if scaler is not None:
            scaler = Standardizer(*scaler)
            shapes = {scaler.mean.shape, scaler.scale.shape}
            if shapes != {(num_features,)} or not (scaler.scale > 0).all():
                raise ValueError("broken scaler")
        self.history_ = [float(loss) for loss in state["history"]]
        self.classes_, self._classes = label_array(classes), classes
        self.num_features_, self._longest = num_features, state["longest"]
        self.feature_names_ = None if names is None else _check_names(names, num_features)
        self.num_held_out_ = num_held_out
        self._majority, self._scaler = state["majority"], scaler
        self._num_members = read_num_members(state)
        self.model_ = self._build(num_features, len(classes), self._num_members)


def _check_names(names: Any, num_features: int) -> list[str]:
    found = [] if isinstance(names, str) else list(names)
    if len(set(found)) != num_features or not all(isinstance(name, str) for name in found):
        raise DataError(
            f"feature_names: expected {num_features} different names, one a channel, got {names!r}."
        )
    return found
