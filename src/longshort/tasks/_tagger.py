"""Tag the words of sentences."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from longshort._errors import DataError
from longshort.data._tag_schemes import SCHEMES, find_scheme
from longshort.data._vocabulary import Vocabulary
from longshort.data._word_vectors import read_word_vectors
from longshort.ops._rounding import usable_precision
from longshort.tasks._base import Task, check_whole
from longshort.tasks._member_training import member_seed, read_num_members
from longshort.tasks._span_scores import span_scores
from longshort.tasks._tag_code import TagCode
from longshort.tasks._tag_reading import TagReader
from longshort.tasks._tag_scores import right_tags, tag_scores, usual_tags
from longshort.tasks._tagger_input import (
    Token,
    WordCode,
    check_sentences,
    check_tags,
    cut_long,
    form,
    pick,
    refuse_empty,
    words_of,
)
from longshort.tasks._tagger_net import TaggerNet, TaggerShape, joined
from longshort.tasks._tagger_params import check_params
from longshort.tasks._tagger_training import TaggerSchedule, train_taggers
from longshort.tasks._training import Progress, random_part

Sentences = Iterable[Sequence[str] | Sequence[Sequence[str]]]
Tags = Iterable[Sequence[str]]


class Tagger(Task):
    """A tag for each word of a sentence: parts of speech, chunks, names.

    A word is its vector (of its form in lower case), the state of a small LSTM that spelt it in
    both directions, how it is written (Capitalised, digits, ...), and the vectors of any features
    that come with it, such as its part of speech for chunks. Bidirectional LSTMs read the
    sentence; a CRF above them weighs whole sequences of tags. Words that were never seen are known
    by their spelling, and by the vector of the unknown word, which training puts in place of words
    that occur once.

    Tags such as B-PER, I-PER, O mark spans. They are trained on as BIOES, what that forbids
    never comes out, and answers are in the scheme that came in.

    Args:
        units: Size H of each LSTM and direction.
        num_layers: LSTMs one above the other.
        word_size: Size of a word's vector.
        char_size: Size of a character's vector.
        char_units: Size of each direction of the LSTM that spells words; 0 for none.
        dropout: Share of channels that are dropped in training, the same in all words of a
            sentence, before each LSTM and after the last.
        word_dropout: Share of the occurrences of words seen once that are taken for unknown in
            training.
        crf: Whether neighbouring tags are weighed together; else each word has a softmax.
        num_members: Networks that are trained one after the other, from different weights, and
            whose scores are averaged.
        scheme: "auto" finds out whether tags mark spans and how; "IOB1", "IOB2" or "BIOES" says
            so; None: they do not.
        min_count: Words that occur less often are unknown.
        lowercase: Whether words are looked up in lower case, with 0 for each digit. Spelling and
            the way of writing are kept.
        vectors: A file of word vectors (word2vec or GloVe as text, also .gz) of `word_size`
            numbers each, to begin with; read in `fit` and not needed later.
        learning_rate: Of the Adam optimizer; it falls to zero along a cosine over `epochs`.
        epochs: Most passes over the training part.
        batch_size: Sentences a training step.
        validation_split: Share of the sentences on which training is stopped; 0 for none. Not
            used where `fit` gets `validation_data`.
        patience: Epochs without a lower validation error after which training stops; the weights
            of the best epoch are kept.
        precision: Of the LSTMs' products in training: "float32", or "bfloat16": their factors are
            rounded, sums are not, for CPUs that multiply bfloat16 (AMX, AVX-512 BF16; elsewhere
            float32, with a `PathWarning`). All else is float32, predictions too.
        seed: Whole number, decides on everything random.

    Attributes:
        tags_: (K,) tags in order; columns of `predict_proba`. All of a type's marks are there.
        scheme_: The scheme of the tags, or None.
        num_features_: Features of each word.
        num_held_out_: Sentences of the validation part.
        history_: Validation error of each epoch of the first member: 1 - F1 of spans, or else the
            share of wrong tags (training loss where nothing was held out).
        model_: Keras model, see `TaggerNet`.

    Source: Huang et al. (2015), "Bidirectional LSTM-CRF models for sequence tagging"; Lample et al.
    (2016), "Neural architectures for named entity recognition", for spelling and rare words.

    Example:
        >>> sentences = [["Ann", "saw", "Bob"], ["Bob", "left"], ["they", "saw", "Ann"]] * 4
        >>> tags = [["NAME", "VERB", "NAME"], ["NAME", "VERB"], ["PRON", "VERB", "NAME"]] * 4
        >>> task = Tagger(8, char_units=4, epochs=20, learning_rate=0.05).fit(sentences, tags)
        >>> task.predict([["they", "left"], []])
        [['PRON', 'VERB'], []]
    """

    tags_: list[str]
    scheme_: str | None
    num_features_: int
    num_held_out_: int
    history_: list[float]

    # Measured on validation parts only, one run each (seed 1), the other options as they are below.
    # English EWT of Universal Dependencies, upos, on its development part, a cosine over 8 epochs:
    # accuracy 0.934, 0.943, 0.945, 0.950, 0.951 after the first to the fifth, not run to the end.
    # CoNLL-2000 chunks from words alone, on a ninth of the training part, a cosine over 5 epochs:
    # F1 0.911, 0.930, 0.935, 0.937, 0.939 (baseline 0.698). On a tenth, a cosine over 20 epochs had
    # 0.9438 after the 11th and stopped after the 16th, one over 12 has 0.9437, and 0.9435 after the
    # last where training is stopped on nothing. (The test part so, from all of the training part:
    # 0.9377, three seeds, instead of 0.9368.) Other sizes, rates and IOB2 for BIOES were not tried.
    # Of a step's time about a third goes to the spelling, half to the sentences' LSTM, a twentieth
    # to the words' vectors.
    def __init__(
        self,
        units: int = 200,
        *,
        num_layers: int = 1,
        word_size: int = 100,
        char_size: int = 30,
        char_units: int = 50,
        dropout: float = 0.5,
        word_dropout: float = 0.5,
        crf: bool = True,
        num_members: int = 1,
        scheme: str | None = "auto",
        min_count: int = 1,
        lowercase: bool = True,
        vectors: str | None = None,
        learning_rate: float = 0.003,
        epochs: int = 12,
        batch_size: int = 32,
        validation_split: float = 0.1,
        patience: int = 5,
        precision: str = "float32",
        seed: int = 1,
    ) -> None:
        self.units = units
        self.num_layers = num_layers
        self.word_size = word_size
        self.char_size = char_size
        self.char_units = char_units
        self.dropout = dropout
        self.word_dropout = word_dropout
        self.crf = crf
        self.num_members = num_members
        self.scheme = scheme
        self.min_count = min_count
        self.lowercase = lowercase
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
        sentences: Sentences,
        tags: Tags,
        *,
        validation_data: tuple[Sentences, Tags] | None = None,
        progress: Progress | None = None,
    ) -> Tagger:
        """Train on sentences and a tag for each of their words.

        Ctrl-C ends training after the step that runs, with a warning, and keeps the best weights
        so far; before the end of the first epoch it is raised.

        Args:
            sentences: n lists of words, or of tuples of a word and its features: texts, as many
                for each word, which later sentences must have as well. A value that is not seen
                here says nothing later, nor do "<pad>", "<unk>", "<s>" and "</s>".
            tags: n lists of as many tags.
            validation_data: Sentences and tags to stop on, instead of a part of the above.
            progress: Called after each epoch with its number (from 1, through all members), their
                number, and the validation error.

        Returns:
            The task itself.

        Raises:
            DataError: If an argument or hyper-parameter cannot be used; the message says what to
                do.
        """
        check_params(self.get_params())
        tokens = check_sentences(sentences)
        gold = check_tags(tags, tokens)
        refuse_empty(tokens, "sentences")
        if len({tag for row in gold for tag in row}) < 2:
            raise DataError(f"Tagger: the tags are all the same ({gold[0][0]!r}), needs two kinds.")
        if self.scheme in SCHEMES and find_scheme(gold) is None:
            raise DataError(
                f"Tagger: scheme is {self.scheme!r}, but the tags do not mark spans as B-PER does; "
                "leave it at 'auto'."
            )
        if validation_data is not None:
            held = check_sentences(
                validation_data[0], "validation sentences", len(tokens[0][0]) - 1
            )
            held_gold = check_tags(validation_data[1], held, "validation tags")
            refuse_empty(held, "validation sentences")
        else:
            part = random_part(len(tokens), self.validation_split, self.seed)
            held, held_gold = pick(tokens, part), pick(gold, part)
            tokens, gold = pick(tokens, ~part), pick(gold, ~part)
        word_code = WordCode.fit(tokens, self.min_count, self.lowercase)
        table = None if self.vectors is None else self._read_vectors(self.vectors, word_code)
        self._word_code = word_code
        self._set_tags(TagCode.fit([*gold, *held_gold], self.scheme))
        self.num_features_ = len(self._word_code.features)
        self._usual = usual_tags(words_of(tokens), gold)
        parts, part_gold = cut_long(tokens), cut_long(gold)
        nets = self._build(self.num_members)
        for net in nets if table is not None else []:
            net.reader.get_layer("word_table").embeddings.assign(table)
        self._reader = TagReader(nets[:1])  # of the one in training
        weights, history = self._train(nets, parts, part_gold, held, held_gold, progress)
        for net, each in zip(nets, weights, strict=False):
            net.finish(each)
        self.history_, self.num_held_out_ = history, len(held)
        self._set_nets(nets[: len(weights)])
        return self

    def predict(self, sentences: Sentences) -> list[list[str]]:
        """Return the tags of each sentence, in the order of `sentences`.

        A sentence without words has no tags. Answers are the same to the last bit for a sentence
        alone and in any company.

        Raises:
            NotFittedError: Before `fit`.
            DataError: If `sentences` cannot be used.
        """
        self._check_fitted("predict")
        tokens = self._checked(sentences)
        return [self._code.decode(row) for row in self._run(tokens, "decode", np.zeros(0, int))]

    def predict_proba(self, sentences: Sentences) -> list[np.ndarray]:
        """Return the probability of each tag of each word, given the whole sentence.

        The most probable tag of a word need not be the one that `predict` gives it, as part of the
        most probable sequence.

        Returns:
            n arrays (T_i, K) float64, columns as in `tags_`, rows sum to 1.

        Raises:
            NotFittedError: Before `fit`.
            DataError: If `sentences` cannot be used.
        """
        self._check_fitted("predict")
        tokens = self._checked(sentences)
        nothing = np.zeros((0, len(self._code.inner)))
        found = [self._code.fold(row) for row in self._run(tokens, "marginals", nothing)]
        return [row / np.maximum(row.sum(axis=1, keepdims=True), 1e-30) for row in found]

    def n_best(self, sentences: Sentences, k: int) -> list[list[tuple[float, list[str]]]]:
        """Return the k most probable sequences of tags of each sentence.

        Args:
            sentences: As in `fit`.
            k: How many; fewer where there are no more.

        Returns:
            For each sentence pairs of probability and tags, the most probable first.

        Raises:
            NotFittedError: Before `fit`.
            DataError: If an argument cannot be used.
        """
        self._check_fitted("predict")
        faults = check_whole("k", k, 1, 10_000)
        if faults:
            raise DataError(f"Tagger.n_best: {faults[0]}.")
        tokens = self._checked(sentences)
        nothing = np.zeros((1, 0), int), np.zeros(1)
        return [
            [
                (float(np.exp(log)), self._code.decode(path))
                for path, log in zip(*row, strict=True)
                if log > -np.inf
            ]
            for row in self._run(tokens, "n_best", nothing, k)
        ]

    def evaluate(self, sentences: Sentences, tags: Tags) -> dict[str, float]:
        """Score the tags on sentences that were not trained on.

        A tag that did not occur in training counts as wrong, with a warning.

        Args:
            sentences: As in `fit`.
            tags: n lists of as many tags.

        Returns:
            accuracy, the share of right tags; unknown_accuracy, that of the words that did not
            occur in training, where there are any; baseline_accuracy, that of giving each word its
            most frequent tag of the training. Where tags mark spans also precision, recall and f1
            of spans, baseline_f1, and precision-TYPE, recall-TYPE, f1-TYPE of each type, counted
            as by conlleval.

        Raises:
            NotFittedError: Before `fit`.
            DataError: If an argument cannot be used.
        """
        self._check_fitted("be evaluated")
        tokens = self._checked(sentences)
        gold = check_tags(tags, tokens)
        return self._score(words_of(tokens), gold, self.predict(tokens))

    def _checked(self, sentences: Sentences) -> list[list[Token]]:
        return check_sentences(sentences, num_features=self.num_features_)

    def _score(
        self, words: list[list[str]], gold: list[list[str]], found: list[list[str]]
    ) -> dict[str, float]:
        """Return what `evaluate` does, from predictions that were made."""
        if not any(gold):
            raise DataError("sentences: expected at least one word, got none.")
        unseen = sorted({tag for row in gold for tag in row} - {*self._code.seen, *self.tags_})
        if unseen:
            warnings.warn(
                f"tags: {', '.join(map(repr, unseen[:5]))}{', ...' if len(unseen) > 5 else ''} did "
                "not occur in training; the words with such tags count as wrong.",
                stacklevel=3,
            )
        spans = self.scheme_ is not None
        return tag_scores(words, gold, found, self._usual, spans=spans)

    def _run(self, tokens: list[list[Token]], what: str, nothing: Any, k: int = 1) -> list[Any]:
        """Run the network on the sentences that have words; `nothing` is what the others get."""
        there = [i for i, row in enumerate(tokens) if row]
        results = [nothing] * len(tokens)
        if there:
            encoded = self._word_code.encode([tokens[i] for i in there])
            for i, row in zip(there, self._reader.run(encoded, what, k), strict=True):
                results[i] = row
        return results

    def _train(
        self,
        nets: list[TaggerNet],
        tokens: list[list[Token]],
        gold: list[list[str]],
        held: list[list[Token]],
        held_gold: list[list[str]],
        progress: Progress | None,
    ) -> tuple[list[list[np.ndarray]], list[float]]:
        """Return the weights of each network's best epoch, and the errors of the first."""
        known = self._word_code.encode(held) if held else None

        def error() -> float:
            assert known is not None
            found = [self._code.decode(row) for row in self._reader.run(known, "decode")]
            if self.scheme_ is not None:
                return 1.0 - span_scores(held_gold, found)["all"]["f1"]
            return 1.0 - float(right_tags(held_gold, found).mean())

        encoded = self._word_code.encode(tokens)
        return train_taggers(
            nets,
            encoded,
            [self._code.encode(row) for row in gold],
            self._word_code.rare(encoded),
            error if held else None,
            TaggerSchedule(
                batch_size=self.batch_size,
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                word_dropout=self.word_dropout,
                patience=self.patience,
                precision=usable_precision(self.precision),
                seed=self.seed,
            ),
            progress,
        )

    def _build(self, num_members: int) -> list[TaggerNet]:
        code = self._word_code
        values = tuple(map(len, code.features))
        shape = self._shape(len(code.words), len(code.chars), values)
        return [
            TaggerNet(shape, member_seed(self.seed, number), self._code.allowed)
            for number in range(num_members)
        ]

    def _read_vectors(self, vectors: str, code: WordCode) -> np.ndarray:
        look_up = partial(form, lowercase=self.lowercase)
        rng = np.random.default_rng([self.seed, 2])
        table = read_word_vectors(vectors, code.words, rng, look_up)
        if table.shape[1] != self.word_size:
            raise DataError(
                f"Tagger: {vectors} has vectors of size {table.shape[1]}, word_size is "
                f"{self.word_size}. Give word_size={table.shape[1]}."
            )
        return table

    def _shape(self, num_words: int, num_chars: int, num_values: tuple[int, ...]) -> TaggerShape:
        return TaggerShape(
            num_words=num_words,
            num_chars=num_chars,
            num_values=num_values,
            num_tags=len(self._code.inner),
            units=self.units,
            num_layers=self.num_layers,
            word_size=self.word_size,
            char_size=self.char_size,
            char_units=self.char_units,
            dropout=self.dropout,
            crf=self.crf,
        )

    def _set_tags(self, code: TagCode) -> None:
        self._code, self.tags_, self.scheme_ = code, code.outer, code.scheme

    def _set_nets(self, nets: list[TaggerNet]) -> None:
        if self._reader.nets != nets:  # else what was compiled for the validation serves on
            self._reader = TagReader(nets)
        self.model_ = joined(nets)

    def _get_state(self) -> dict[str, Any]:
        return {
            "tags": self._code.seen,
            "scheme": self.scheme_,
            "words": self._word_code.words.get_state(),
            "chars": self._word_code.chars.get_state(),
            "features": [each.get_state() for each in self._word_code.features],
            "usual": self._usual,
            "num_held_out": self.num_held_out_,
            "history": self.history_,
            "num_members": len(self._reader.nets),
        }

    def _least_bytes(self, state: dict[str, Any]) -> int:
        check_params(self.get_params())
        self._set_tags(_read_code(state))
        words, chars = (len(state[name]["tokens"]) for name in ("words", "chars"))
        values = tuple(len(each["tokens"]) for each in state.get("features", []))
        num_weights = read_num_members(state) * self._shape(words, chars, values).num_weights
        return 2 * num_weights  # 2 bytes, a weight of half precision

    def _set_state(self, state: dict[str, Any]) -> None:
        usual, num_held_out = state["usual"], state["num_held_out"]
        if type(num_held_out) is not int or num_held_out < 0:
            raise ValueError(f"num_held_out is {num_held_out!r}")
        if type(usual) is not dict or not all(type(tag) is str for tag in usual.values()):
            raise ValueError("broken usual tags")
        if "" not in usual or type(state["history"]) is not list:
            raise ValueError("broken usual tags or history")
        self._set_tags(_read_code(state))
        words, chars = (Vocabulary.from_state(state[name]) for name in ("words", "chars"))
        features = [Vocabulary.from_state(each) for each in state.get("features", [])]
        if {each.unit for each in (words, *features)} != {"token"} or chars.unit != "char":
            raise ValueError("broken vocabularies")
        self._word_code = WordCode(words, chars, features, self.lowercase)
        self.num_features_ = len(features)
        self._usual, self.num_held_out_ = usual, num_held_out
        self.history_ = [float(error) for error in state["history"]]
        self._reader = TagReader([])
        self._set_nets(self._build(read_num_members(state)))


def _read_code(state: dict[str, Any]) -> TagCode:
    tags = state["tags"]
    if type(tags) is not list or not all(type(tag) is str and tag for tag in tags):
        raise ValueError("broken tags")
    if len(set(tags)) != len(tags) or len(tags) < 2:
        raise ValueError("broken tags")
    scheme = state["scheme"]
    if scheme is not None and find_scheme([tags]) is None:
        raise ValueError("broken tags")
    return TagCode(scheme, tags)
