"""Classify texts."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from longshort._errors import DataError
from longshort.data._batches import fixed_batches
from longshort.data._sequences import check_labels
from longshort.data._vocabulary import Vocabulary
from longshort.ops._rounding import usable_precision
from longshort.tasks._base import Task, check_whole
from longshort.tasks._classifier_training import held_out, logits
from longshort.tasks._labels import (
    check_label_sets,
    find_classes,
    index_label_sets,
    index_labels,
    label_array,
)
from longshort.tasks._scores import ClassReport, fit_temperature, log_softmax, sigmoid
from longshort.tasks._text_classifier_params import (
    check_params,
    check_state,
    class_weights,
    epochs_of,
)
from longshort.tasks._text_explain import TextExplanation, log_odds_of, run_masked, share_out
from longshort.tasks._text_input import check_texts, encode_texts, kept
from longshort.tasks._text_members import build_members, train_members
from longshort.tasks._text_ngrams import USUAL_SHARE, Ngrams, choose_share
from longshort.tasks._text_scores import text_report
from longshort.tasks._text_start import read_vectors, shape_of, sizes_of, take_over
from longshort.tasks._training import Progress


class TextClassifier(Task):
    """Labels for texts, read by an LSTM.

    A vocabulary turns a text into tokens, an embedding these into vectors, and LSTMs read them.
    Beside the LSTM's outputs at a token stands its own vector (Lai et al. 2015); the largest and
    the mean value of each channel over the text go through one dense layer. A linear classifier of
    the tokens and pairs of tokens that a text has (Wang and Manning 2012) is fitted beside the
    networks, and the share of it that does best on the validation part is taken; then it is fitted
    once more on all texts, unless there was `validation_data`:

        logits = (1 - share_) networks + share_ linear

    The answer for a text is the same to the last bit, alone or in any company.

    Args:
        units: Size H of each LSTM layer and direction.
        num_layers: Number of LSTM layers.
        bidirectional: Whether to read each text backwards too.
        embedding_size: Size E of the vector of a token; None: 128, or that of `vectors`.
        unit: What a token is: "word", "char" or "subword" (`pip install longshort[text]`); see
            `longshort.data.Vocabulary`.
        vocabulary_size: Most tokens, the rarest of the training part are left out.
        min_count: Least number of times that a word or character occurs in the training part.
        lowercase: Whether to turn texts into lower case.
        max_tokens: Tokens of a text that are read; of longer ones the middle is left out.
        pooling: How the steps become one vector: "max+mean", "max", "mean", "attention" (a weighted
            mean with weights that are learnt) or "last" (the state after the last step).
        dropout: Share of channels that are dropped in training, the same at all steps of a text: of
            the embedding, of each LSTM's outputs and of the pooled vector.
        embedding_dropout: Share of words that are dropped, at all their places in a text.
        num_members: Networks that are trained one after the other, from different weights, and
            whose logits are averaged. None: three for fewer than 10,000 texts, else one.
        ngrams: Tokens of the longest runs that the linear part knows, 1 to 5; from 2 on it knows
            pairs with one token between, too; 0: no linear part.
        multi_label: Whether several labels, or none, may apply to a text; labels are then lists.
        threshold: Probability from which on a label is predicted, with `multi_label`.
        class_weight: How much a text counts in training by its label: None, all the same;
            "balanced", as if all labels were equally frequent; or a dict with a weight for each
            label. Probabilities are then those of labels as frequent as the weights make them.
        vectors: A file of word vectors (word2vec or GloVe as text, also .gz) to begin with; read
            in `fit` and not needed later.
        learning_rate: Of the Adam optimizer; it falls to zero along a cosine over `epochs`.
        epochs: Most passes over the training part. None: 6, or more where those are fewer than
            1,500 steps, 40 at most.
        batch_size: Texts a training step.
        validation_split: Share of the training part, drawn evenly from each class, on which
            training is stopped and probabilities are calibrated; 0 for none. Not used where `fit`
            gets `validation_data`.
        patience: Epochs without a better validation loss after which training stops; the
            weights of the best epoch are kept.
        precision: Of the LSTMs' products in training: "float32", or "bfloat16": their factors are
            rounded, sums are not, for CPUs that multiply bfloat16 (AMX, AVX-512 BF16; elsewhere
            float32, with a `PathWarning`). All else is float32, predictions too.
        seed: Whole number, decides on everything random.

    Attributes:
        classes_: (K,) the labels in order; columns of `predict_proba`.
        vocabulary_: The tokens of the training part.
        share_: Share of the linear part, 0 to 1; 0.5 where nothing was held out.
        temperature_: What logits are divided by to be calibrated.
        num_held_out_: Texts of the validation part.
        history_: Validation loss of each epoch of the first member (training loss where nothing was
            held out).
        model_: Keras model of the networks: (B, T) numbers of tokens and (B, T) mask to (B, K)
            logits.

    Example:
        >>> texts = ["good film", "a bad film", "very good", "so bad"] * 10
        >>> labels = ["yes", "no", "yes", "no"] * 10
        >>> task = TextClassifier(8, epochs=20, batch_size=8, learning_rate=0.01)
        >>> task.fit(texts, labels).predict(["a good one", "bad, bad"]).tolist()
        ['yes', 'no']
    """

    classes_: np.ndarray
    vocabulary_: Vocabulary
    share_: float
    temperature_: float
    num_held_out_: int
    history_: list[float]

    # What was tried for the defaults is in docs/design.md, "Texts".
    def __init__(
        self,
        units: int = 64,
        *,
        num_layers: int = 1,
        bidirectional: bool = True,
        embedding_size: int | None = None,
        unit: str = "word",
        vocabulary_size: int = 20_000,
        min_count: int = 1,
        lowercase: bool = True,
        max_tokens: int = 400,
        pooling: str = "max+mean",
        dropout: float = 0.5,
        embedding_dropout: float = 0.3,
        num_members: int | None = None,
        ngrams: int = 2,
        multi_label: bool = False,
        threshold: float = 0.5,
        class_weight: str | dict[Any, float] | None = None,
        vectors: str | None = None,
        learning_rate: float = 0.001,
        epochs: int | None = None,
        batch_size: int = 32,
        validation_split: float = 0.1,
        patience: int = 4,
        precision: str = "float32",
        seed: int = 1,
    ) -> None:
        self.units = units
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.embedding_size = embedding_size
        self.unit = unit
        self.vocabulary_size = vocabulary_size
        self.min_count = min_count
        self.lowercase = lowercase
        self.max_tokens = max_tokens
        self.pooling = pooling
        self.dropout = dropout
        self.embedding_dropout = embedding_dropout
        self.num_members = num_members
        self.ngrams = ngrams
        self.multi_label = multi_label
        self.threshold = threshold
        self.class_weight = class_weight
        self.vectors = vectors
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_split = validation_split
        self.patience = patience
        self.precision = precision
        self.seed = seed

    def fit(
        self,
        texts: Any,
        labels: Any,
        *,
        validation_data: tuple[Any, Any] | None = None,
        pretrained: Any = None,
        progress: Progress | None = None,
    ) -> TextClassifier:
        """Train on texts and their labels.

        Ctrl-C ends training after the step that runs, with a warning, and keeps the best weights
        so far; before the end of the first epoch it is raised.

        Args:
            texts: n strings, each with a token at least.
            labels: n labels of at least two kinds: str, int, or anything hashable. With
                `multi_label` n lists of labels, which may be empty.
            validation_data: Texts and labels to stop and calibrate on, instead of a part of the
                above.
            pretrained: A fitted `LanguageModel` of the same `unit`, or the name of its file: the
                network begins with its vocabulary, vectors of tokens and LSTM layers (Dai and Le
                2015; Howard and Ruder 2018). It reads forwards, as the language model does, and
                `units`, `num_layers`, `bidirectional`, `embedding_size`, `vocabulary_size`,
                `min_count` and `lowercase` are the language model's: leave them out. It is not
                needed later.
            progress: Called after each epoch with its number (from 1, through all members), their
                number in all, and the validation loss.

        Returns:
            The task itself.

        Raises:
            DataError: If texts, labels, `vectors`, `pretrained` or a hyper-parameter cannot be
                used; the message says what to do.
            FileFormatError: If the file `pretrained` cannot be read.
            NotFittedError: If the language model is not fitted.
        """
        check_params(self)
        start = None if pretrained is None else take_over(pretrained, self)
        texts = check_texts(texts, blank=False)
        found = self._check_labels(labels, len(texts), "labels")
        classes = find_classes([x for one in found for x in one] if self.multi_label else found)
        if len(classes) < 2 - self.multi_label:
            what = f"{classes[0]!r} for all texts" if classes else "no label at all"
            raise DataError(
                f"TextClassifier: labels: expected at least {2 - self.multi_label} different "
                f"labels, got {what}."
            )
        targets = self._index(found, classes, "labels")
        if validation_data is not None:
            held_texts = check_texts(validation_data[0], name="validation texts", blank=False)
            more = self._check_labels(validation_data[1], len(held_texts), "validation labels")
            held_targets = self._index(more, classes, "validation labels")
        else:
            part = held_out(targets, self.validation_split, np.random.default_rng([self.seed, 0]))
            held_texts = [texts[i] for i in np.flatnonzero(part)]
            held_targets = targets[part]
            texts = [texts[i] for i in np.flatnonzero(~part)]
            targets = targets[~part]
        vocabulary = (
            Vocabulary.fit(
                texts, self.unit, self.vocabulary_size, self.min_count, self.lowercase, self.seed
            )
            if start is None
            else start.vocabulary
        )
        sequences = encode_texts(texts, vocabulary, self.max_tokens)
        held = encode_texts(held_texts, vocabulary, self.max_tokens)
        parts = sequences, targets, held, held_targets
        longest = max(map(len, sequences))
        weights = class_weights(self.class_weight, targets, classes)
        embeddings = read_vectors(vocabulary, self) if start is None else start.embeddings
        sizes = sizes_of(self, embeddings, start, len(texts))
        tokens = len(vocabulary)
        shape = shape_of(self, sizes, tokens, len(classes))
        linear = Ngrams.fit(*parts, tokens, self.ngrams, weights) if self.ngrams else None
        trained, history, num_members = train_members(
            shape,
            self.seed,
            sizes["num_members"],
            {"embeddings": embeddings, "lstm": None if start is None else start.lstm},
            *parts,
            learning_rate=self.learning_rate,
            epochs=epochs_of(self, len(texts)),
            batch_size=self.batch_size,
            patience=self.patience,
            longest=longest,
            progress=progress,
            weights=weights,
            precision=usable_precision(self.precision),
            divide=fixed_batches,
        )
        # A new model: without the optimizer's state, and exactly what `load` will build.
        model = build_members(shape, self.seed, num_members)
        model.set_weights(trained)
        self.classes_, self._classes = label_array(classes), classes
        self.vocabulary_, self.history_, self.num_held_out_ = vocabulary, history, len(held)
        self._longest, self._sizes = longest, sizes | {"num_members": num_members}
        each = targets if self.multi_label else np.eye(len(classes))[targets]
        self._shares = each.mean(axis=0, dtype=np.float64)
        self.model_, self._linear, self.temperature_ = model, linear, 1.0
        self.share_ = USUAL_SHARE if linear is not None else 0.0
        if held:
            if linear is not None:
                networks = logits(model, held, longest, fixed_batches)
                self.share_ = choose_share(networks, linear.logits(held), held_targets)
            self.temperature_ = fit_temperature(self._logits(held), held_targets)
            if linear is not None and validation_data is None:
                every = np.concatenate([targets, held_targets])
                counts = class_weights(self.class_weight, every, classes)
                self._linear = linear.again([*sequences, *held], every, counts)
        return self

    def predict_proba(self, texts: Any) -> np.ndarray:
        """Return the probability of each label, calibrated on the validation part.

        The logits are divided by `temperature_`, which `fit` chose on the texts that it stopped on
        (Guo et al. 2017); it is 1 where nothing was held out.

        Args:
            texts: n strings. An empty one gets what the network says of no token at all.

        Returns:
            (n, K) float64, rows in the order of `texts`, columns as in `classes_`. Rows sum to 1,
            but with `multi_label`, where each label has a probability of its own.

        Raises:
            NotFittedError: Before `fit`.
            DataError: If `texts` are no strings.
        """
        self._check_fitted("predict")
        sequences = encode_texts(check_texts(texts), self.vocabulary_, self.max_tokens)
        return self._probabilities(self._logits(sequences))

    def predict(self, texts: Any) -> Any:
        """Return the most probable label of each text.

        Returns:
            (n,) array in the order of `texts`; with `multi_label` a list of n lists, the labels
            that are at least as probable as `threshold`, in the order of `classes_`.
        """
        return self._decide(self.predict_proba(texts))

    def evaluate(self, texts: Any, labels: Any) -> dict[str, float]:
        """Score the predictions on texts that were not trained on.

        Args:
            texts: n strings.
            labels: n labels, or lists of labels, all of which occurred in training.

        Returns:
            accuracy, balanced_accuracy, macro_f1, log_loss (nats), calibration_error (expected
            calibration error, 15 bins) and, to compare with, linear_accuracy, that of the linear
            part alone, and majority_accuracy, that of always guessing the most frequent label of
            the training. With `multi_label`: micro_f1, macro_f1, subset_accuracy, log_loss,
            calibration_error, linear_micro_f1 and majority_subset_accuracy.

        Raises:
            NotFittedError: Before `fit`.
            DataError: If texts or labels cannot be used, or a label did not occur in training.
        """
        return self.report(texts, labels).scores

    def report(self, texts: Any, labels: Any) -> ClassReport:
        """Score the predictions on texts that were not trained on, label by label.

        Takes and raises what `evaluate` does.

        Returns:
            The scores of `evaluate`; precision, recall, F1 and number of texts of each label; and
            how often each was taken for which. See ClassReport.
        """
        self._check_fitted("be evaluated")
        texts = check_texts(texts)
        found = self._check_labels(labels, len(texts), "labels")
        targets = self._index(found, self._classes, "labels")
        sequences = encode_texts(texts, self.vocabulary_, self.max_tokens)
        p = self._probabilities(self._logits(sequences))
        linear = None if self._linear is None else self._linear.logits(sequences)
        threshold = self.threshold if self.multi_label else None
        return text_report(targets, p, linear, self._classes, self._shares, threshold)

    def explain(self, text: str, label: Any = None, *, num_orders: int = 8) -> TextExplanation:
        """Tell how much each token of a text speaks for a label.

        A token's score is by how much the log-odds of the label rise when it joins the others, in
        the mean over random orders in which tokens join (Shapley values; Strumbelj and Kononenko
        2010). A token that has not joined is left out as if the text did not have it. The scores
        sum to the log-odds for the whole text less those for an empty one, in every order.

        Args:
            text: A string with at least one token.
            label: One of `classes_`; None: the most probable one.
            num_orders: Random orders; each is used backwards too. Takes 2 `num_orders` readings of
                the text a token.

        Returns:
            Tokens, their places in the text and scores (nats); `to_html()` marks them in the text.

        Raises:
            NotFittedError: Before `fit`.
            DataError: If there is no token, or the label did not occur in training.
        """
        self._check_fitted("explain")
        (text,) = check_texts([text], name="text")
        if faults := check_whole("num_orders", num_orders, 1, 10**6):
            raise DataError(f"explain: {faults[0]}.")
        tokens = self.vocabulary_.encode(text)
        places = kept(len(tokens), self.max_tokens)
        if not len(places):
            raise DataError("explain: expected a text with at least one token, got none.")
        whole = self.predict_proba([text])[0]
        k = int(whole.argmax())
        if label is not None:
            k = int(index_labels([label], self._classes, "label")[0])

        def log_odds(masks: np.ndarray) -> np.ndarray:
            values = run_masked(self.model_, tokens[places], masks, self._longest)
            values = self._mixed(values, [tokens[places[mask]] for mask in masks])
            values = values / self.temperature_
            return values[:, k] if self.multi_label else log_odds_of(values, k)

        rng = np.random.default_rng([self.seed, 2])
        scores, base = share_out(log_odds, len(places), num_orders, rng)
        spans = self.vocabulary_.spans(text)
        return TextExplanation(
            text=text,
            label=self._classes[k],
            probability=float(whole[k]),
            spans=[spans[i] for i in places],
            scores=scores,
            base=base,
        )

    def _logits(self, sequences: list[np.ndarray]) -> np.ndarray:
        networks = logits(self.model_, sequences, self._longest, fixed_batches)
        return self._mixed(networks, sequences)

    def _mixed(self, networks: np.ndarray, sequences: list[np.ndarray]) -> np.ndarray:
        if self._linear is None:
            return networks
        return (1 - self.share_) * networks + self.share_ * self._linear.logits(sequences)

    def _probabilities(self, values: np.ndarray) -> np.ndarray:
        values = values / self.temperature_
        if self.multi_label:
            return sigmoid(values)
        return np.exp(log_softmax(values))

    def _decide(self, probabilities: np.ndarray) -> Any:
        if not self.multi_label:
            return self.classes_[probabilities.argmax(axis=1)]
        return [
            [label for label, p in zip(self._classes, row, strict=True) if p >= self.threshold]
            for row in probabilities.tolist()
        ]

    def _check_labels(self, labels: Any, n: int, name: str) -> list[Any]:
        if self.multi_label:
            return check_label_sets(labels, n, name=name)
        return check_labels(labels, n, name=name)

    def _index(self, labels: list[Any], classes: list[Hashable], name: str) -> np.ndarray:
        index = index_label_sets if self.multi_label else index_labels
        return index(labels, classes, name)

    def _get_state(self) -> dict[str, Any]:
        return {
            "classes": self._classes,
            "shares": self._shares,
            "vocabulary": self.vocabulary_.get_state(),
            "sizes": self._sizes,
            "longest": self._longest,
            "linear": None if self._linear is None else self._linear.get_state(),
            "share": self.share_,
            "temperature": self.temperature_,
            "num_held_out": self.num_held_out_,
            "history": self.history_,
        }

    def _least_bytes(self, state: dict[str, Any]) -> int:
        check_params(self)
        sizes, longest = state["sizes"], state["longest"]
        if type(longest) is not int or longest < 1:
            raise ValueError(f"longest is {longest!r}")
        # The vocabulary is counted when it is read.
        weights = sizes["num_members"] * shape_of(self, sizes, 0, 0).num_weights()
        return 2 * weights  # 2 bytes, of half precision

    def _set_state(self, state: dict[str, Any]) -> None:
        check_state(state)
        classes = state["classes"]
        self.vocabulary_ = Vocabulary.from_state(state["vocabulary"])
        self._linear = None
        if state["linear"] is not None:
            self._linear = Ngrams.from_state(state["linear"], len(self.vocabulary_), len(classes))
        self.share_ = state["share"]
        self.classes_, self._classes = label_array(classes), classes
        self._shares = np.asarray(state["shares"], dtype=np.float64)
        self.history_ = [float(loss) for loss in state["history"]]
        self.temperature_ = float(state["temperature"])
        self.num_held_out_ = state["num_held_out"]
        self._longest, self._sizes = state["longest"], state["sizes"]
        shape = shape_of(self, self._sizes, len(self.vocabulary_), len(classes))
        self.model_ = build_members(shape, self.seed, self._sizes["num_members"])
