"""Transcribe speech."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longshort._errors import DataError
from longshort.data._audio import as_loud, check_rate
from longshort.data._mel import LogMel
from longshort.data._sequences import Standardizer
from longshort.data._spec_augment import augmented
from longshort.ops._rounding import usable_precision
from longshort.tasks._alphabet import Alphabet
from longshort.tasks._base import Task, check_whole
from longshort.tasks._ctc_decoding import PrefixBeam
from longshort.tasks._error_rates import error_rates
from longshort.tasks._member_training import read_num_members
from longshort.tasks._ngram import NGram
from longshort.tasks._recordings import check_list, check_pairs, fitting_labels, recordings
from longshort.tasks._seeded import num_lstm_weights
from longshort.tasks._training import Progress, random_part
from longshort.tasks._transcriber_members import (
    build_members,
    most_probable,
    n_best,
    train_members,
)
from longshort.tasks._transcriber_net import TranscriberShape
from longshort.tasks._transcriber_params import (
    MOST_AT_ONCE,
    check_params,
    check_search,
    usual_learning_rate,
)
from longshort.tasks._transcriber_training import Utterances, label_log_probs
from longshort.tasks._transcript_stream import TranscriptStream

Array = NDArray[np.floating]
MANY_BLANKS = 0.9  # of the recordings that say something, to warn


class Transcriber(Task):
    """Texts from recordings: log-mel features, convolutions, LSTMs, CTC.

    Two causal convolutions shorten time, LSTMs read both ways (or forward only, which can
    transcribe while one speaks), and the network gives each step a probability of each label and
    of the blank; it is trained by the sum over all ways to say the text in these steps (Graves et
    al. 2006, "Connectionist temporal classification"). Nothing has to be aligned.

    Args:
        units: Size H of each LSTM and direction.
        num_layers: LSTMs; each after the first is added to what it reads.
        bidirectional: Whether to read each recording backwards too; False for `stream`.
        unit: What is a label: `"char"`, or `"word"` for a small closed vocabulary such as digits.
        alphabet: The characters or words; None: those of the training texts. With one given a
            text that holds others is refused.
        sample_rate: Samples a second that the model works at; None: those of the first recording.
        resample: Whether recordings of another rate are converted, or refused.
        num_mels: Bands of the features.
        window: Seconds of a frame.
        hop: Seconds from one frame to the next.
        reduction: Frames to one step of the LSTMs: 1, 2, 4 or 8. A text needs a step for each
            label, and one more between equal ones.
        channels: Of each convolution.
        normalize: `"global"`: features are scaled by mean and deviation of the training part;
            `"loudness"`: so they are, of recordings that are made equally loud first;
            `"utterance"`: each recording by its own, which removes the sound of a room or a
            microphone, too. The last two need all of a recording.
        dropout: Share of inputs of each LSTM and of the last layer dropped in training.
        augment: Whether to train on other versions of the recordings, drawn anew each epoch:
            spoken faster or slower by up to a fifth, frequencies higher or lower by up to a tenth
            as if by another speaker, stripes of time and frequency hidden (SpecAugment).
        ngram: Order of a model of labels, counted on the training texts, that the beam search
            may use (`ngram_weight`); 0: none.
        num_members: Networks that are trained one after the other, from different weights. Of what
            each of them says the text is taken that all find most probable (`most_probable`).
        learning_rate: Of Adam; it falls to 0 along a cosine over `epochs`. None: 0.003 for 16
            recordings a step or more, for n fewer 0.003 sqrt(n / 16).
        epochs: Most passes over the training part.
        batch_size: Recordings a step; None: 16, or so many that a pass has eight steps.
        validation_split: Share of the recordings, drawn at random, on whose errors training is
            stopped; 0 for none. Not used where `fit` gets `validation_data`.
        patience: Epochs without fewer errors before training stops; the best weights are kept.
        precision: Of the LSTMs' products in training: "float32", or "bfloat16": their factors are
            rounded, sums are not, for CPUs that multiply bfloat16 (AMX, AVX-512 BF16; elsewhere
            float32, with a `PathWarning`). All else is float32, predictions too.
        seed: Whole number, decides on everything random.

    Attributes:
        sample_rate_: Samples a second that it works at.
        alphabet_: The K labels in order, characters or words.
        history_: Of each epoch of the first member the share of wrong labels in the validation
            part, plus a thousandth of the loss; or the training loss where nothing was held out.
        num_held_out_: Recordings of the validation part.
        model_: Keras model: (B, T, D) features and (B, T) mask to (B, T', K + 1) logits, or a list
            of those of each member.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> tone = lambda hertz: np.sin(hertz * np.arange(2000) / 8000 * 2 * np.pi)
        >>> audio = [tone(500 + 1000 * (i % 2) + rng.normal(0, 9)) for i in range(16)]
        >>> given = {"unit": "word", "validation_split": 0, "augment": False, "reduction": 4}
        >>> task = Transcriber(16, epochs=30, learning_rate=0.01, dropout=0, **given)
        >>> task = task.fit(audio, ["low", "high"] * 8, sample_rate=8000)
        >>> task.predict([tone(500), tone(1500)], sample_rate=8000)
        ['low', 'high']
    """

    sample_rate_: int
    alphabet_: tuple[str, ...]
    history_: list[float]
    num_held_out_: int

    def __init__(
        self,
        units: int = 128,
        *,
        num_layers: int = 1,
        bidirectional: bool = True,
        unit: str = "char",
        alphabet: Sequence[str] | None = None,
        sample_rate: int | None = None,
        resample: bool = True,
        num_mels: int = 40,
        window: float = 0.025,
        hop: float = 0.01,
        reduction: int = 2,
        channels: int = 64,
        normalize: str = "global",
        dropout: float = 0.3,
        augment: bool = True,
        ngram: int = 0,
        num_members: int = 1,
        learning_rate: float | None = None,
        epochs: int = 60,
        batch_size: int | None = None,
        validation_split: float = 0.1,
        patience: int = 15,
        precision: str = "float32",
        seed: int = 1,
    ) -> None:
        self.units = units
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.unit = unit
        self.alphabet = alphabet
        self.sample_rate = sample_rate
        self.resample = resample
        self.num_mels = num_mels
        self.window = window
        self.hop = hop
        self.reduction = reduction
        self.channels = channels
        self.normalize = normalize
        self.dropout = dropout
        self.augment = augment
        self.ngram = ngram
        self.num_members = num_members
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_split = validation_split
        self.patience = patience
        self.precision = precision
        self.seed = seed

    def fit(
        self,
        audio: Sequence[Any],
        texts: Sequence[str],
        *,
        sample_rate: int | None = None,
        validation_data: tuple[Sequence[Any], Sequence[str]] | None = None,
        progress: Progress | None = None,
    ) -> Transcriber:
        """Train on recordings and what is said in them.

        The features of all recordings are kept in memory: about 60 MB for an hour at 40 bands,
        twice that with `augment`. Ctrl-C keeps the best weights so far and warns; before the
        end of the first epoch it is raised.

        Args:
            audio: n paths of sound files, or arrays of samples (floats of -1 to 1, or integers).
            texts: n transcripts; an empty one is a recording in which nothing is said.
            sample_rate: Samples a second of the arrays; None: the constructor's.
            validation_data: Recordings and texts to stop on, instead of a part of the above.
            progress: Called after each epoch with its number (from 1, through all members), their
                number, and the score.

        Returns:
            The task itself.

        Raises:
            DataError: A recording, a text or a hyper-parameter cannot be used, or a text has more
                labels than its recording has steps; the message names it.
            ImportError: A path was given and soundfile is not installed.
        """
        self._check_params()
        audio, texts = check_pairs(audio, texts, "audio", "texts")
        wanted = self.sample_rate
        sample_rate = wanted if sample_rate is None else sample_rate
        if wanted is None:
            wanted = next(iter(recordings(audio[:1], sample_rate, None)))[1]
        mel = self._mel(wanted)
        tokens = (
            Alphabet.of(texts, self.unit)
            if self.alphabet is None
            else Alphabet(self.alphabet, self.unit)
        )
        sounds = self._features(audio, sample_rate, mel, "audio")
        labels = self._labels(audio, texts, sounds, tokens, "audio")
        if validation_data is not None:
            held_audio, held_texts = check_pairs(*validation_data, "validation audio", "its texts")
            held_sounds = self._features(held_audio, sample_rate, mel, "validation audio")
            held_labels = self._labels(
                held_audio, held_texts, held_sounds, tokens, "validation audio"
            )
        else:
            part = random_part(len(audio), self.validation_split, self.seed)
            held_sounds = [sounds[i] for i in np.flatnonzero(part)]
            held_labels = [labels[i] for i in np.flatnonzero(part)]
            sounds = [sounds[i] for i in np.flatnonzero(~part)]
            labels = [labels[i] for i in np.flatnonzero(~part)]
            if not any(labels):
                raise DataError("texts: those left for training are all empty; give more.")
        scaler = Standardizer.fit(sounds)
        training = Utterances(scaler.transform(sounds), labels)
        held = Utterances(scaler.transform(held_sounds) if held_labels else [], held_labels)
        shape = self._shape(len(tokens))
        usual_size = min(MOST_AT_ONCE, max(1, len(sounds) // 8))
        batch_size = min(self.batch_size or usual_size, len(sounds))
        weights, history, num_members = train_members(
            shape,
            self.seed,
            self.num_members,
            training,
            held,
            self.reduction,
            augmented if self.augment else None,
            learning_rate=self.learning_rate or usual_learning_rate(batch_size),
            epochs=self.epochs,
            batch_size=batch_size,
            patience=self.patience,
            precision=usable_precision(self.precision),
            progress=progress,
        )
        # A new model: without the optimizer's state, and exactly what `load` will build.
        model = build_members(shape, self.seed, num_members)
        model.set_weights(weights)
        self.sample_rate_, self.alphabet_ = wanted, tokens.tokens
        self.history_, self.num_held_out_ = history, len(held)
        self._tokens, self._scaler = tokens, scaler
        self._ngram = NGram(self.ngram, len(tokens)).fit(labels) if self.ngram else None
        self.model_ = model
        self._warn_of_blanks(held if len(held) else training)
        return self

    def predict(
        self,
        audio: Sequence[Any],
        *,
        sample_rate: int | None = None,
        beam_size: int = 1,
        ngram_weight: float | None = None,
        bonus: float = 0.0,
    ) -> list[str]:
        """Return what is said in each recording.

        Args:
            audio: Paths or arrays, as in `fit`.
            sample_rate: Of the arrays; None: that of the model.
            beam_size: 1 takes the best label of each step; more searches for the text whose ways
                to be said have the largest sum, with that many candidates.
            ngram_weight: What the n-gram model counts in the search; None: 0.5, if there is one.
            bonus: For each label in the search, in nats: the n-gram model likes short texts.

        Returns:
            n texts, in the order of `audio`. The same recording has the same text alone, among
            others, and after save and load.

        Raises:
            NotFittedError: Before `fit`.
            DataError: A recording or an argument cannot be used.
        """
        weight = self._search_weight("transcribe", beam_size, ngram_weight, bonus)
        log_probs = self._log_probs(audio, sample_rate)
        if weight is None:
            return [self._tokens.decode(most_probable(each)) for each in log_probs]
        search = partial(self._beam, beam_size, weight, bonus)
        return [self._tokens.decode(n_best(each, search)[0][0]) for each in log_probs]

    def n_best(
        self,
        audio: Sequence[Any],
        n: int = 5,
        *,
        sample_rate: int | None = None,
        beam_size: int = 10,
        ngram_weight: float | None = None,
        bonus: float = 0.0,
    ) -> list[list[tuple[str, float]]]:
        """Return the n best texts of each recording with their log scores, best first.

        The score is the log probability of the text by the network (of several the mean), plus
        what the n-gram model and the bonus give; arguments as for `predict`. There may be fewer
        than n.
        """
        weight = self._search_weight("transcribe", beam_size, ngram_weight, bonus)
        if weight is None or check_whole("n", n, 1, beam_size):
            raise DataError(
                f"n_best: expected a beam_size of 2 or more and n from 1 to beam_size={beam_size}, "
                f"got {n!r}."
            )
        log_probs = self._log_probs(audio, sample_rate)
        search = partial(self._beam, beam_size, weight, bonus)
        return [
            [(self._tokens.decode(labels), score) for labels, score in n_best(each, search)[:n]]
            for each in log_probs
        ]

    def evaluate(
        self,
        audio: Sequence[Any],
        texts: Sequence[str],
        *,
        sample_rate: int | None = None,
        **search: Any,
    ) -> dict[str, float]:
        """Score the transcripts of recordings that were not trained on.

        Args:
            audio: Paths or arrays.
            texts: What is said in them; a word or character that the model cannot say counts as
                an error.
            sample_rate: Of the arrays; None: that of the model.
            **search: As for `predict`.

        Returns:
            wer and cer (edits over the words and characters of the texts), exact (share of
            recordings without any error) and silent (share of recordings with a text for which
            the model says nothing).

        Raises:
            NotFittedError: Before `fit`.
            DataError: As for `predict`, or the lengths differ.
        """
        self._check_fitted("be evaluated")
        audio, texts = check_pairs(audio, texts, "audio", "texts")
        found = self.predict(audio, sample_rate=sample_rate, **search)
        spoken = [text == "" for text, wanted in zip(found, texts, strict=True) if wanted]
        exact = np.mean([a == b for a, b in zip(found, texts, strict=True)])
        silent = float(np.mean(spoken)) if spoken else float("nan")
        return {**error_rates(found, texts), "exact": float(exact), "silent": silent}

    def stream(
        self, *, beam_size: int = 1, ngram_weight: float | None = None, bonus: float = 0.0
    ) -> TranscriptStream:
        """Return a transcript that grows while samples come in; see `TranscriptStream`.

        Needs neither Keras nor JAX to run. It ends with the text that `predict` has for the whole.

        Raises:
            NotFittedError: Before `fit`.
            DataError: The model is bidirectional, normalises by the whole recording, or has several
                members.
        """
        weight = self._search_weight("stream", beam_size, ngram_weight, bonus)
        if self.bidirectional or self.normalize != "global":
            needed = "bidirectional=False" if self.bidirectional else "normalize='global'"
            raise DataError(
                f"Transcriber.stream: this model needs the whole recording; fit one with {needed}."
            )
        if len(self.model_.outputs) > 1:
            raise DataError(
                "Transcriber.stream: this model has several networks, which are heard to the end "
                "before they agree; fit one with num_members=1."
            )
        beam = None if weight is None else self._beam(beam_size, weight, bonus)
        mel = self._mel(self.sample_rate_)
        return TranscriptStream(self.model_, mel, self._scaler, self._tokens, beam)

    # -- features and labels ----------------------------------------------------------------

    def _mel(self, rate: int) -> LogMel:
        return LogMel(rate, self.num_mels, self.window, self.hop)

    def _features(self, audio: list[Any], given: int | None, mel: LogMel, name: str) -> list[Array]:
        found = []
        for samples, _ in recordings(audio, given, mel.rate, convert=self.resample, name=name):
            x = mel(as_loud(samples, mel.frame) if self.normalize == "loudness" else samples)
            if self.normalize == "utterance":
                x = (x - x.mean(axis=0)) / (x.std(axis=0) + 0.1)
            found.append(x)
        return found

    def _labels(
        self,
        audio: list[Any],
        texts: list[str],
        sounds: list[Array],
        tokens: Alphabet,
        name: str,
    ) -> list[tuple[int, ...]]:
        """Return the labels of each text, or refuse one that its recording has no room for."""
        steps = [self._shape(len(tokens)).steps(len(x)) for x in sounds]
        return fitting_labels(audio, texts, steps, tokens, self.hop * self.reduction, name)

    def _warn_of_blanks(self, part: Utterances) -> None:
        sounds = [x for x, labels in zip(part.features, part.labels, strict=True) if labels]
        if not sounds:
            return
        paths = zip(*label_log_probs(self.model_, sounds, self.reduction), strict=True)
        silent = float(np.mean([not most_probable(each) for each in paths]))
        if silent > MANY_BLANKS:
            warnings.warn(
                f"Transcriber: the network says nothing for {silent:.0%} of the recordings with "
                "a text. It has learnt no more than that most steps are silent; train longer, on "
                "more recordings, or with another learning_rate.",
                stacklevel=3,
            )

    def _log_probs(self, audio: Sequence[Any], sample_rate: int | None) -> list[tuple[Array, ...]]:
        """Return for each recording what each member says, log probabilities (T', K + 1)."""
        audio = check_list(audio)
        given = self.sample_rate_ if sample_rate is None else sample_rate
        sounds = self._features(audio, given, self._mel(self.sample_rate_), "audio")
        scaled = self._scaler.transform(sounds)
        return list(zip(*label_log_probs(self.model_, scaled, self.reduction), strict=True))

    def _search_weight(
        self, action: str, beam_size: int, ngram_weight: float | None, bonus: float
    ) -> float | None:
        """Check that there is a model and what it is asked; as `check_search`."""
        self._check_fitted(action)
        return check_search(beam_size, ngram_weight, bonus, ngram=self.ngram > 0)

    def _beam(self, beam_size: int, weight: float, bonus: float) -> PrefixBeam:
        return PrefixBeam(beam_size, self._ngram, weight=weight, bonus=bonus)

    # -- hyper-parameters and state ---------------------------------------------------------

    def _shape(self, labels: int) -> TranscriberShape:
        return TranscriberShape(
            self.num_mels,
            labels,
            self.channels,
            self.reduction,
            self.units,
            self.num_layers,
            self.bidirectional,
            self.dropout,
        )

    def _check_params(self) -> None:
        check_params(self.get_params())

    def _get_state(self) -> dict[str, Any]:
        return {
            "sample_rate": self.sample_rate_,
            "alphabet": list(self.alphabet_),
            "mean": self._scaler.mean,
            "scale": self._scaler.scale,
            "ngram": None if self._ngram is None else self._ngram.to_state(),
            "history": self.history_,
            "num_held_out": self.num_held_out_,
            "num_members": len(self.model_.outputs),
        }

    def _least_bytes(self, state: dict[str, Any]) -> int:
        self._check_params()
        sizes = (self.channels, self.units, self.num_layers, self.bidirectional)
        # 2 bytes, a weight of half precision
        return 2 * read_num_members(state) * num_lstm_weights(*sizes)

    def _set_state(self, state: dict[str, Any]) -> None:
        tokens = Alphabet(state["alphabet"], self.unit)
        rate, scaler = state["sample_rate"], Standardizer(state["mean"], state["scale"])
        check_rate(rate, "sample_rate")
        shapes = {scaler.mean.shape, scaler.scale.shape}
        if shapes != {(self.num_mels,)} or not (scaler.scale > 0).all():
            raise ValueError("broken scaler")
        self._ngram = None
        if self.ngram:
            self._ngram = NGram.from_state(self.ngram, len(tokens), state["ngram"])
        self.sample_rate_, self.alphabet_, self._tokens = rate, tokens.tokens, tokens
        self._scaler = scaler
        self.history_ = [float(loss) for loss in state["history"]]
        self.num_held_out_ = int(state["num_held_out"])
        self._mel(rate)
        num_members = read_num_members(state)
        self.model_ = build_members(self._shape(len(tokens)), self.seed, num_members)
