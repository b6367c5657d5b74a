"""Translate sentences."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from longshort._errors import DataError
from longshort.data._vocabulary import UNKNOWN, Vocabulary
from longshort.tasks._alignment import Alignment
from longshort.tasks._base import Task
from longshort.tasks._text_input import check_texts
from longshort.tasks._training import Progress, random_part
from longshort.tasks._translator_input import check_pairs, encode_pairs
from longshort.tasks._translator_params import check_params, check_search

if TYPE_CHECKING:
    from longshort.tasks._seq2seq_net import Seq2SeqNet, Seq2SeqPlan
    from longshort.tasks._seq2seq_pairs import Pairs


SUBWORDS = 4_000


class Translator(Task):
    """Sentences to sentences: an LSTM encoder, attention, an LSTM decoder.

    A bidirectional LSTM reads the source. The decoder's first LSTM asks, its second gets the answer
    of the attention (Bahdanau et al. 2015; Luong et al. 2015; the order of Wu et al. 2016), and all
    steps of a target are trained at once. It learns any map from sequences of symbols to
    sequences of symbols, translation being one.

    Args:
        units: H, even: size of each LSTM of the decoder; the encoder has H / 2 in each direction.
        num_layers: Bidirectional LSTM layers of the encoder; the decoder has two.
        embedding_size: Values of a token's vector.
        attention: `"additive"`, `"general"` or `"dot"`; see `longshort.tasks._cross_attention`.
        input_feeding: Whether the decoder also reads the vector that the softmax of the step before
            read (Luong et al. 2015); steps are then trained one after the other, and slower.
        unit: What a token is: `"subword"` (needs `pip install longshort[text]`), `"word"` or
            `"char"`; see `longshort.data.Vocabulary`.
        vocabulary_size: Most tokens; None: 4,000 subwords, all words or characters.
        min_count: Least number of times that a word or character occurs; None: 2 for words, else 1.
        joint: Whether both languages share one vocabulary and one matrix of vectors. The target's
            vectors are the rows of the softmax in either case.
        dropout: Share of vectors and outputs dropped in training.
        label_smoothing: Share of a token's probability that is spread over all in training.
        max_length: Training pairs with more tokens on a side are left out, with a warning: memory
            of additive attention grows with its square.
        batch_size: Pairs a step; fewer where they are long.
        epochs: Most passes; None: so many that there are some 9,000 steps, 100 at most.
        learning_rate: Of Adam at its highest, after a short rise; it falls along a cosine.
        clip_norm: Most that the norm of all gradients together may be.
        validation_split: Share of the pairs, drawn at random, on whose loss training is stopped; 0
            for none. Not used where `fit` gets `validation_data`.
        patience: Epochs without a lower validation loss before training stops; the best weights
            are kept.
        max_minutes: Time after which training ends; the learning rate falls to 0 by then.
        precision: Of the products of LSTMs and softmax in training: "float32", or "bfloat16": their
            factors are rounded, sums are not, for CPUs that multiply bfloat16 (AMX, AVX-512 BF16;
            elsewhere float32, with a `PathWarning`). All else is float32, predictions too.
        seed: Whole number, decides on everything random.

    Attributes:
        source_vocabulary_: A `Vocabulary`.
        target_vocabulary_: A `Vocabulary`; the same one if `joint`.
        history_: Of each epoch the validation loss in nats a token, END counted; or the training
            loss where nothing was held out.
        num_held_out_: Pairs of the validation part.
        model_: Keras model: numbers (B, S) of the source and (B, T) of the target to logits.

    Example:
        >>> sources = [f"{a} {b}" for a in "abcdef" for b in "abcdef"] * 8
        >>> task = Translator(32, embedding_size=16, unit="word", epochs=20, learning_rate=0.01)
        >>> task = task.fit(sources, [text[::-1] for text in sources])
        >>> task.translate(["a b", "f c"])
        ['b a', 'c f']
    """

    source_vocabulary_: Vocabulary
    target_vocabulary_: Vocabulary
    history_: list[float]
    num_held_out_: int

    # Measured on Multi30k's validation part, German to English, 7 minutes each on two cores of one
    # machine at once; passes, loss, BLEU with five candidates: the former defaults (384 units,
    # additive, 8,000 subwords, dropout 0.3, rate 0.002) 3, 3.09, 19.1; 4,000 subwords, dropout 0.4
    # 3, 2.96, 22.3; 256 units, vectors of 128, dropout 0.4, 8,000 subwords 4, 3.01, 20.2; 4,000
    # 5, 2.87, 21.7; the same with dropout 0.5 5, 3.01, 19.8; with a rate of 0.004 5, 2.46, 29.8;
    # 256 units and vectors, 2,000 subwords 4, 2.79, 24.1; 4,000, general 5, 2.47, 29.0. (Losses a
    # token compare within one number of subwords.)
    def __init__(
        self,
        units: int = 256,
        *,
        num_layers: int = 1,
        embedding_size: int = 256,
        attention: str = "general",
        input_feeding: bool = False,
        unit: str = "subword",
        vocabulary_size: int | None = None,
        min_count: int | None = None,
        joint: bool = True,
        dropout: float = 0.4,
        label_smoothing: float = 0.1,
        max_length: int = 100,
        batch_size: int = 64,
        epochs: int | None = None,
        learning_rate: float = 0.004,
        clip_norm: float = 1.0,
        validation_split: float = 0.05,
        patience: int = 5,
        max_minutes: float | None = None,
        precision: str = "float32",
        seed: int = 1,
    ) -> None:
        self.units = units
        self.num_layers = num_layers
        self.embedding_size = embedding_size
        self.attention = attention
        self.input_feeding = input_feeding
        self.unit = unit
        self.vocabulary_size = vocabulary_size
        self.min_count = min_count
        self.joint = joint
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.max_length = max_length
        self.batch_size = batch_size
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.clip_norm = clip_norm
        self.validation_split = validation_split
        self.patience = patience
        self.max_minutes = max_minutes
        self.precision = precision
        self.seed = seed

    def fit(
        self,
        sources: Sequence[str],
        targets: Sequence[str],
        *,
        validation_data: tuple[Sequence[str], Sequence[str]] | None = None,
        progress: Progress | None = None,
    ) -> Translator:
        """Train on sentences and their translations.

        Ctrl-C keeps the best weights so far and warns; before the end of the first epoch it is
        raised.

        Args:
            sources: n texts.
            targets: Their n translations.
            validation_data: Texts and translations to stop on, instead of a part of the above.
            progress: Called after each epoch with its number (from 1), the most there will be, and
                the loss.

        Returns:
            The task itself.

        Raises:
            DataError: A text or a hyper-parameter cannot be used; the message says what to do.

        Warns:
            UserWarning: If pairs are left out because they are longer than `max_length`.
        """
        from longshort.ops._rounding import usable_precision
        from longshort.tasks._seq2seq_training import Seq2SeqSchedule, train

        check_params(self.get_params())
        sources, targets = check_pairs((sources, targets), ("sources", "targets"))
        held_out = np.zeros(len(sources), dtype=bool)
        if validation_data is None:
            held_out = random_part(len(sources), self.validation_split, self.seed)
        # What is held out has no say in the vocabulary.
        vocabularies = self._vocabularies(
            [sources[i] for i in np.flatnonzero(~held_out)],
            [targets[i] for i in np.flatnonzero(~held_out)],
        )
        pairs = encode_pairs((sources, targets), vocabularies, ("sources", "targets"))
        held = pairs.part(held_out)
        if validation_data is not None:
            names = ("validation sources", "validation targets")
            held = encode_pairs(check_pairs(validation_data, names), vocabularies, names)
        pairs = self._short(pairs.part(~held_out))
        plan = self._plan(*map(len, vocabularies))
        weights, history = train(
            self._build(plan),
            pairs,
            held,
            Seq2SeqSchedule(
                batch_size=self.batch_size,
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                clip_norm=self.clip_norm,
                patience=self.patience,
                max_minutes=self.max_minutes,
                precision=usable_precision(self.precision),
                seed=self.seed,
            ),
            progress,
        )
        self.source_vocabulary_, self.target_vocabulary_ = vocabularies
        self.history_, self.num_held_out_ = history, len(held)
        self._longest = max(map(len, pairs.sources))
        # A new network: without the optimizer's state, and exactly what `load` will build.
        self._set_net(self._build(plan))
        self.model_.set_weights(weights)
        return self

    def translate(
        self,
        texts: Sequence[str],
        *,
        beam_size: int = 5,
        length_penalty: float = 1.0,
        coverage_penalty: float = 0.0,
        no_repeat_ngram_size: int = 0,
        max_length: int | None = None,
    ) -> list[str]:
        """Return the translation of each text.

        Args:
            texts: n texts; one without a token, such as an empty one, has an empty translation.
            beam_size: Candidates that the search goes on with; 1 takes the likeliest token each
                time.
            length_penalty: 0 prefers short translations, 1 nearly takes the mean over the tokens;
                a and b of Wu et al. (2016), section 7, the score of `n_best`.
            coverage_penalty: What it costs to leave parts of the source out.
            no_repeat_ngram_size: No run of so many tokens comes twice in a translation; 0 allows
                all.
            max_length: Most tokens, the end included; None: 10 more than twice the source's.

        Returns:
            n texts. The same text has the same translation, bit for bit of its score, alone, among
            others, and after save and load.

        Raises:
            NotFittedError: Before `fit`.
            DataError: A text or an argument cannot be used.

        Warns:
            UserWarning: If a text is far longer than those of training, or none of its tokens is
                known.
        """
        found = self.n_best(
            texts,
            1,
            beam_size=beam_size,
            length_penalty=length_penalty,
            coverage_penalty=coverage_penalty,
            no_repeat_ngram_size=no_repeat_ngram_size,
            max_length=max_length,
        )
        return [best[0][0] for best in found]

    def predict(self, texts: Sequence[str], **search: Any) -> list[str]:
        """Return the translation of each text: `translate` by the name that all tasks have."""
        return self.translate(texts, **search)

    def n_best(
        self,
        texts: Sequence[str],
        n: int = 5,
        *,
        beam_size: int = 5,
        length_penalty: float = 1.0,
        coverage_penalty: float = 0.0,
        no_repeat_ngram_size: int = 0,
        max_length: int | None = None,
    ) -> list[list[tuple[str, float]]]:
        """Return the n best translations of each text with their scores, best first.

        The score is the log probability of the tokens and the end, divided by
        ((5 + length) / 6) ** length_penalty, with the coverage penalty added. Arguments as for
        `translate`, n at most `beam_size`. There may be fewer than n, and two that differ in
        their tokens may be the same text.
        """
        self._check_fitted("translate")
        search = check_search(
            beam_size=beam_size,
            length_penalty=length_penalty,
            coverage_penalty=coverage_penalty,
            no_repeat_ngram_size=no_repeat_ngram_size,
            max_length=max_length,
            n=n,
        )
        texts = check_texts(texts)
        ids = [self.source_vocabulary_.encode(text) for text in texts]
        self._warn(ids)
        full = [i for i, one in enumerate(ids) if len(one)]
        limits = [max_length or 2 * len(ids[i]) + 10 for i in full]
        found = self._scorer.search([ids[i] for i in full], limits, search)
        answers: list[list[tuple[str, float]]] = [[("", 0.0)] for _ in texts]
        for i, best in zip(full, found, strict=True):
            answers[i] = [(self.target_vocabulary_.decode(one.tokens), one.score) for one in best]
        return answers

    def align(self, source: str, target: str | None = None) -> Alignment:
        """Return how much each token of a translation attended to each of the source.

        Args:
            source: A text.
            target: Its translation; None: what `translate` returns.

        Raises:
            NotFittedError: Before `fit`.
            DataError: If a text cannot be used.
        """
        self._check_fitted("align")
        if target is None:
            target = self.translate([source])[0]
        for name, text in (("source", source), ("target", target)):
            if not isinstance(text, str):
                raise DataError(f"{name}: expected a str, got a {type(text).__name__}.")
        ids = self.source_vocabulary_.encode(source)
        wanted = self.target_vocabulary_.encode(target)
        weights = np.zeros((len(wanted), len(ids)), np.float32)
        if len(ids):
            weights = self._scorer.score([ids], [wanted])[0][1][:-1]
        return Alignment(
            [self.source_vocabulary_.tokens[i] for i in ids],
            [self.target_vocabulary_.tokens[i] for i in wanted],
            weights,
        )

    def evaluate(
        self, sources: Sequence[str], references: Sequence[str], **search: Any
    ) -> dict[str, float]:
        """Score the translations of texts that were not trained on.

        Args:
            sources: n texts.
            references: Their translations by people.
            **search: As for `translate`.

        Returns:
            bleu (Papineni et al. 2002) and chrf (Popović 2015) by sacrebleu with its defaults, 0 to
            100; nats_per_token and perplexity of the references, END counted; unknown_share of
            the references' tokens, which the model cannot say.

        Raises:
            NotFittedError: Before `fit`.
            DataError: A text or an argument cannot be used.
            ImportError: sacrebleu is not installed.
        """
        self._check_fitted("be evaluated")
        sources, references = check_pairs((sources, references), ("sources", "references"))
        sacrebleu = _sacrebleu()
        found = self.translate(sources, **search)
        ids = [self.source_vocabulary_.encode(text) for text in sources]
        wanted = [self.target_vocabulary_.encode(text) for text in references]
        full = [i for i, one in enumerate(ids) if len(one)]
        if not full:
            raise DataError("sources: expected at least one text with a token, got none.")
        loss = self._scorer.mean_loss([ids[i] for i in full], [wanted[i] for i in full])
        tokens = np.concatenate(wanted)
        return {
            "bleu": float(sacrebleu.corpus_bleu(found, [references], force=True).score),
            "chrf": float(sacrebleu.corpus_chrf(found, [references]).score),
            "nats_per_token": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "unknown_share": float((tokens == UNKNOWN).mean()) if len(tokens) else 0.0,
        }

    def _vocabularies(self, sources: list[str], targets: list[str]) -> tuple[Vocabulary, ...]:
        least = self.min_count or (2 if self.unit == "word" else 1)
        most = self.vocabulary_size or (SUBWORDS if self.unit == "subword" else None)
        each = [[*sources, *targets]] if self.joint else [sources, targets]
        found = [Vocabulary.fit(texts, self.unit, most, least, seed=self.seed) for texts in each]
        return found[0], found[-1]

    def _short(self, pairs: Pairs) -> Pairs:
        short = pairs.lengths <= self.max_length
        if not short.any():
            raise DataError(
                f"sources and targets: all pairs have more than max_length={self.max_length} "
                "tokens, so there is nothing to train on. Raise max_length or cut them."
            )
        if not short.all():
            warnings.warn(
                f"{int((~short).sum())} of {len(short)} pairs have more than "
                f"max_length={self.max_length} tokens and are left out.",
                stacklevel=3,
            )
        return pairs.part(short)

    def _warn(self, ids: list[np.ndarray]) -> None:
        most = max(map(len, ids))
        if most > 2 * self._longest + 10:
            i = int(np.argmax([len(one) for one in ids]))
            warnings.warn(
                f"texts[{i}] has {most} tokens, the longest source of training {self._longest}: "
                "its translation may be poor. Translate its sentences one by one.",
                stacklevel=4,
            )
        unknown = [i for i, one in enumerate(ids) if len(one) and (one == UNKNOWN).all()]
        if unknown:
            warnings.warn(
                f"texts[{unknown[0]}] holds no token that occurred in training, its translation "
                f"says nothing ({len(unknown)} such texts).",
                stacklevel=4,
            )

    def _plan(self, num_source: int, num_target: int) -> Seq2SeqPlan:
        from longshort.tasks._seq2seq_net import Seq2SeqPlan

        return Seq2SeqPlan(
            num_source,
            num_target,
            self.joint,
            self.embedding_size,
            self.units,
            self.num_layers,
            self.attention,
            self.input_feeding,
            dropout=self.dropout,
            seed=self.seed,
        )

    def _build(self, plan: Seq2SeqPlan) -> Seq2SeqNet:
        from longshort.tasks._seq2seq_net import Seq2SeqNet

        return Seq2SeqNet(plan, self.label_smoothing)

    def _set_net(self, net: Seq2SeqNet) -> None:
        from longshort.tasks._seq2seq_scoring import Scorer

        self._scorer, self.model_ = Scorer(net), net.model

    def _get_state(self) -> dict[str, Any]:
        vocabularies = [self.source_vocabulary_.get_state()]
        if not self.joint:
            vocabularies.append(self.target_vocabulary_.get_state())
        return {
            "vocabularies": vocabularies,
            "sizes": [len(self.source_vocabulary_), len(self.target_vocabulary_)],
            "longest": self._longest,
            "num_held_out": self.num_held_out_,
            "history": self.history_,
        }

    def _least_bytes(self, state: dict[str, Any]) -> int:
        check_params(self.get_params())
        sizes = state["sizes"]
        if type(sizes) is not list or [type(n) for n in sizes] != [int, int] or min(sizes) < 5:
            raise ValueError(f"sizes are {sizes!r}")
        return 2 * self._plan(*sizes).num_weights()  # 2 bytes, of half precision

    def _set_state(self, state: dict[str, Any]) -> None:
        given = state["vocabularies"]
        if type(given) is not list or len(given) != (1 if self.joint else 2):
            raise ValueError("broken vocabularies")
        found = [Vocabulary.from_state(one) for one in given]
        sizes = [len(found[0]), len(found[-1])]
        if sizes != state["sizes"] or {one.unit for one in found} != {self.unit}:
            raise ValueError("broken vocabularies")
        for name in ("longest", "num_held_out"):
            if type(state[name]) is not int or state[name] < 0:
                raise ValueError(f"{name} is {state[name]!r}")
        if type(state["history"]) is not list:
            raise ValueError("broken history")
        self.source_vocabulary_, self.target_vocabulary_ = found[0], found[-1]
        self._longest, self.num_held_out_ = state["longest"], state["num_held_out"]
        self.history_ = [float(loss) for loss in state["history"]]
        self._set_net(self._build(self._plan(*sizes)))


def _sacrebleu() -> Any:
    try:
        import sacrebleu
    except ImportError:
        raise ImportError(
            "Translator.evaluate: BLEU and chrF need sacrebleu; run pip install longshort[text]."
        ) from None
    return sacrebleu
