"""Language models: the probability of text, and text from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from longshort._errors import DataError
from longshort.data._corpus import Corpus, check_known, encode_corpus, split_at, trailing
from longshort.data._vocabulary import END, UNKNOWN, Vocabulary
from longshort.tasks._base import Task, check_rate
from longshort.tasks._bigrams import Bigrams
from longshort.tasks._language_generation import continued, encode_prompt
from longshort.tasks._language_params import check_params
from longshort.tasks._language_sampling import check_sampling, choose
from longshort.tasks._training import Progress

if TYPE_CHECKING:
    import pandas as pd

    from longshort.tasks._language_net import LanguageNet
    from longshort.tasks._language_training import OnStep


class LanguageModel(Task):
    """The probability of each token given all before it, by an LSTM; and text drawn from it.

        p(text) = p(t_1 | END) p(t_2 | END, t_1) p(t_3 | END, t_1, t_2) ...

    Each token's vector goes through LSTM layers to a softmax over the next token, trained on
    running text with truncated backpropagation through time and the regularisation of AWD-LSTM
    (Merity, Keskar and Socher 2018): one dropout mask for all steps of a part, dropped words,
    dropped recurrent weights, one matrix for vectors and softmax.

    A str is one text, a `pathlib.Path` a UTF-8 file with one text, read a line at a time, of which
    only the numbers of its tokens are kept (2 bytes each: 2 GB for a gigabyte of characters). A
    list of str is several texts; a model of several learns where a text ends. Ends of lines: with
    characters they are characters; with words and subwords they are the token END where there is
    one text (as `<eos>` in the Penn Treebank) and white space where there are several.

    Args:
        units: H of each LSTM layer.
        unit: What a token is: "char", "word" or "subword"; see `longshort.data.Vocabulary`.
        num_layers: Number of LSTM layers.
        embedding_size: Values of a token's vector. None: 64 for characters, else 256.
        vocabulary_size: Most tokens. None: all characters or words, 8,000 subwords. The cost of
            the softmax grows with their number.
        min_count: Least number of times that a known token occurs. None: 2 for words, so that the
            unknown token is learnt, else 1.
        lowercase: Whether to turn text into lower case first.
        num_sampled: Tokens that are drawn for each training step to stand for the whole vocabulary
            in the softmax, so that training with many words takes fewer products; the training loss
            is then an estimate. Validation, scores and text always have all. None: all in training.
        tie_weights: Whether the vectors are the rows of the softmax too. None: for words and
            subwords.
        dropout: Share of the outputs of each layer that are dropped in training.
        input_dropout: Share of the values of all tokens' vectors.
        embedding_dropout: Share of the tokens that are dropped whole from a sequence.
        weight_drop: Share of the recurrent weights.
        sequence_length: Steps through which gradients go back. The state goes on beyond.
        batch_size: Parts of the text that are trained on side by side.
        epochs: Most passes over the text. None: as many as make about 8,500 steps, 60 at most.
        learning_rate: Of the Adam optimizer; it rises for 100 steps and falls to zero along a
            cosine.
        clip_norm: Most that the norm of all gradients together may be.
        validation_split: Share of the text, its beginning, on which training is stopped; 0 for
            none. Not used where `fit` gets `validation_text`.
        patience: Epochs without a better validation loss after which training stops; the weights
            of the best epoch are kept.
        max_minutes: Time for training; the learning rate then falls to zero by its end, and results
            depend on the speed of the machine. None: no limit.
        precision: Of the products of LSTMs and softmax in training: "float32", or "bfloat16": their
            factors are rounded, sums are not, for CPUs that multiply bfloat16 (AMX, AVX-512 BF16;
            elsewhere float32, with a `PathWarning`). All else is float32, predictions too.
        seed: Whole number, decides on everything random.

    Attributes:
        vocabulary_: The `Vocabulary`, of the text without the validation part.
        history_: Validation loss of each epoch in nats a token (training loss where nothing was
            held out).
        num_tokens_: Tokens that were trained on.
        num_held_out_: Tokens of the validation part.
        model_: Keras model: numbers of tokens (B, T), and h and c (B, H) of each layer, to logits
            (B, T, V) and h and c after them.

    Example:
        >>> text = "How much wood would a woodchuck chuck? " * 40
        >>> task = LanguageModel(units=16, epochs=20, sequence_length=8, learning_rate=0.02)
        >>> task.fit(text).generate("How mu", max_tokens=15, temperature=0)
        'ch wood would a'
    """

    vocabulary_: Vocabulary
    history_: list[float]
    num_tokens_: int
    num_held_out_: int

    # Tried on the first 90 % of tinyshakespeare, the last 5.5 % of them as validation part; nats a
    # character after each epoch (bigrams: 2.481). Dropout 0.3, 3 epochs: 1.598, 1.508, 1.476.
    # Dropout 0.2, 4 epochs: 1.613, 1.522, 1.476, 1.461, with 1.271 in training by then. The first
    # of 6 epochs, dropout 0.3: 1.602. An epoch took about 170 s of CPU time. One layer of 512 takes
    # 7.4 Mflop a character, two take 20, so in the same time the one sees nearly three times the
    # text; two were not trained. A character took as long in steps of 16 x 64 as of 64 x 64.
    def __init__(
        self,
        units: int = 512,
        *,
        unit: str = "char",
        num_layers: int = 1,
        embedding_size: int | None = None,
        vocabulary_size: int | None = None,
        min_count: int | None = None,
        lowercase: bool = False,
        num_sampled: int | None = None,
        tie_weights: bool | None = None,
        dropout: float = 0.3,
        input_dropout: float = 0.05,
        embedding_dropout: float = 0.0,
        weight_drop: float = 0.0,
        sequence_length: int = 64,
        batch_size: int = 16,
        epochs: int | None = None,
        learning_rate: float = 0.004,
        clip_norm: float = 1.0,
        validation_split: float = 0.05,
        patience: int = 3,
        max_minutes: float | None = None,
        precision: str = "float32",
        seed: int = 1,
    ) -> None:
        self.units = units
        self.unit = unit
        self.num_layers = num_layers
        self.embedding_size = embedding_size
        self.vocabulary_size = vocabulary_size
        self.min_count = min_count
        self.lowercase = lowercase
        self.num_sampled = num_sampled
        self.tie_weights = tie_weights
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.embedding_dropout = embedding_dropout
        self.weight_drop = weight_drop
        self.sequence_length = sequence_length
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
        texts: Any,
        *,
        validation_text: Any = None,
        progress: Progress | None = None,
        on_step: OnStep | None = None,
    ) -> LanguageModel:
        """Train on running text.

        Ctrl-C ends training after the step that runs, with a warning, and keeps the best weights so
        far; before the end of the first epoch it is raised.

        Args:
            texts: A str, a `pathlib.Path` or an iterable of str; see the class.
            validation_text: In the same forms: text to stop on, not the beginning of the above.
            progress: Called after each epoch with its number (from 1), the most there will be, and
                the validation loss.
            on_step: Called after each training step with the tokens so far, those of the whole
                training, and the loss of the step in nats a token.

        Returns:
            The task itself.

        Raises:
            DataError: If a text or a hyper-parameter cannot be used; the message says what to do.
        """
        from longshort.ops._rounding import usable_precision
        from longshort.tasks._language_training import LanguagePlan, train

        check_params(self)
        if not isinstance(texts, (str, Path, Sequence)) and isinstance(texts, Iterator):
            texts = list(texts)  # it is read several times
        # What is held out has no say in the vocabulary.
        share = 0.0 if validation_text is not None else self.validation_split
        least = self.min_count or (2 if self.unit == "word" else 1)
        vocabulary = Vocabulary.fit(
            trailing(texts, self.unit, share),
            self.unit,
            size=self.vocabulary_size,
            min_count=least,
            lowercase=self.lowercase,
            seed=self.seed,
        )
        corpus = encode_corpus(texts, vocabulary)
        ids, held = corpus.ids, corpus.ids[:0]
        if validation_text is not None:
            held_corpus = encode_corpus(
                validation_text, vocabulary, "validation_text", several=corpus.several
            )
            check_known(held_corpus, validation_text, "validation_text")
            held = held_corpus.ids
        elif share:
            # What comes last is most like what comes next, so what comes first is held out.
            cut = split_at(corpus.ids, trailing(texts, self.unit, share), vocabulary)
            ids, held = corpus.ids[cut - 1 :], corpus.ids[:cut].copy()
            ids[0] = END  # what texts begin with is to be learnt
            held = held if (held != END).any() else held[:0]
        if len(ids) < 3:
            raise DataError(
                f"LanguageModel: expected text of at least 2 tokens to train on, got "
                f"{len(ids) - 1}. Give more text."
            )
        plan = LanguagePlan.of(
            len(ids) - 1,
            batch_size=self.batch_size,
            length=self.sequence_length,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            clip_norm=self.clip_norm,
            num_sampled=self.num_sampled,
            patience=self.patience,
            max_minutes=self.max_minutes,
            precision=usable_precision(self.precision),
            seed=self.seed,
        )
        weights, history = train(
            self._build(len(vocabulary)), ids, held, plan, progress=progress, on_step=on_step
        )
        # A new network: without the optimizer's state, and exactly what `load` will build.
        self._set_net(self._build(len(vocabulary)))
        self.model_.set_weights(weights)
        self.vocabulary_, self.history_ = vocabulary, history
        self.num_tokens_, self.num_held_out_ = len(ids) - 1, max(len(held) - 1, 0)
        self._several = corpus.several
        self._bigrams = Bigrams.count(ids, len(vocabulary))
        return self

    def score(self, text: str) -> np.ndarray:
        """Return the log probability of each token of a text, given all before it.

        Args:
            text: One text, which begins with a state of zeros.

        Returns:
            (n,) float64, nats, in the order of `vocabulary_.encode(text)`; with words and subwords
            of a model of one text also of END at the end of each line.

        Raises:
            NotFittedError: Before `fit`.
            DataError: If `text` holds no token, or none that is known.
        """
        self._check_fitted("score")
        if not isinstance(text, str):
            raise DataError(f"text: expected a str, got a {type(text).__name__}.")
        scores = self._log_probabilities(self._encode(text, "text"))[0]
        return scores[:-1] if self._several else scores  # without END

    def predict(self, texts: Sequence[str]) -> pd.DataFrame:
        """Score several texts, each by itself.

        Args:
            texts: A list of str.

        Returns:
            A row a text: `num_tokens`, `log_probability` of the whole (nats) and `perplexity`, the
            exponential of its mean loss a token. END behind a text counts where the model was
            trained on several.

        Raises:
            NotFittedError: Before `fit`.
            DataError: If a text cannot be used.
        """
        import pandas as pd

        self._check_fitted("predict")
        if isinstance(texts, (str, Path)):
            raise DataError(
                "LanguageModel.predict: expected a list of texts, got one. Put it into a list, or "
                "call score or evaluate."
            )
        corpora = [self._encode(text, f"texts[{i}]") for i, text in enumerate(_listed(texts))]
        sequences = [corpus.ids for corpus in corpora]
        scores = self._scorer.log_probabilities(sequences)
        sums = np.array([score.sum(dtype=np.float64) for score in scores])
        counts = np.array([len(score) for score in scores])
        return pd.DataFrame(
            {
                "num_tokens": counts,
                "log_probability": sums,
                "perplexity": np.exp(np.minimum(-sums / counts, 700.0)),
            }
        )

    def evaluate(self, texts: Any, *, adapt_rate: float = 0.0) -> dict[str, float]:
        """Score text that was not trained on.

        Every token counts once, the first too, whose condition is only that a text begins. The
        state is carried through a whole text, and is zeros before each.

        Args:
            texts: As in `fit`.
            adapt_rate: Learning rate with which a copy of the weights goes on learning from the
                texts, in their order, behind each 32 tokens that were scored and at the end of
                each (`adapted_loss`: dynamic evaluation); 0: none. 0.0005 is one to begin with.

        Returns:
            nats_per_token, perplexity (its exponential), bits_per_character (the bits of all tokens
            by the number of characters, which compares models of different tokens), num_tokens and
            unknown_share; and to compare with, from counts of the training text with smoothing,
            unigram_nats and bigram_nats a token: without any context, and with one token of it.

        Raises:
            NotFittedError: Before `fit`.
            DataError: If an argument cannot be used, or none of the tokens is known.
        """
        self._check_fitted("be evaluated")
        if adapt_rate != 0.0 and (faults := check_rate("adapt_rate", adapt_rate)):
            raise DataError(f"LanguageModel.evaluate: {faults[0]}, or 0.")
        corpus = self._encode(texts, "texts")
        count = sum(len(ids) - 1 for ids in corpus.texts())
        if adapt_rate:
            from longshort.tasks._language_adapting import adapted_loss

            total = adapted_loss(self._net, corpus.texts(), adapt_rate)
        else:
            total = -float(sum(scores.sum() for scores in self._log_probabilities(corpus)))
        unigram, bigram = self._bigrams.losses(corpus.texts())
        return {
            "nats_per_token": total / count,
            "perplexity": math.exp(min(total / count, 700.0)),
            "bits_per_character": total / math.log(2) / corpus.num_characters,
            "num_tokens": float(count),
            "unknown_share": float((corpus.ids == UNKNOWN).sum() / count),
            "unigram_nats": unigram,
            "bigram_nats": bigram,
        }

    def pretrained_layers(self) -> dict[str, Any]:
        """Return what another network can begin with, copies.

        Returns:
            `vocabulary`: the `Vocabulary`; `embeddings`: (V, E) float32, the vectors of its tokens;
            `lstm`: for each layer the list of kernel (D, 4H), recurrent kernel (H, 4H) and bias
            (4H,), as `longshort.layers.LSTM(units).set_weights` takes them.

        Raises:
            NotFittedError: Before `fit`.
        """
        from longshort.tasks._training import copy_weights

        self._check_fitted("give its layers")
        return {
            "vocabulary": Vocabulary.from_state(self.vocabulary_.get_state()),
            "embeddings": copy_weights(self._net.embedding)[0],
            "lstm": [copy_weights(layer) for layer in self._net.stack.layers],
        }

    def generate(self, prompt: str = "", **options: Any) -> str:
        """Return text that goes on from `prompt`, without it; arguments as in `stream`."""
        return "".join(self.stream(prompt, **options))

    def stream(
        self,
        prompt: str = "",
        *,
        max_tokens: int = 200,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 1,
        stop: str | Sequence[str] = (),
    ) -> Iterator[str]:
        """Yield text that goes on from `prompt`, a token at a time.

        The state is carried along: a token costs the same however long the text is.

        Args:
            prompt: What the text begins with; it is not given back.
            max_tokens: Most tokens to generate.
            temperature: Divides the logits: below 1 likelier text, above 1 stranger text. 0 takes
                the likeliest token each time.
            top_k: Draw from the likeliest k tokens only; None for all.
            top_p: Draw from the fewest tokens whose probabilities reach this sum; None for all.
            seed: Decides on what is drawn: the same seed gives the same text.
            stop: Strings at the first of which the text ends; they are not given back.

        A model that was trained on several texts also ends where it draws the end of a text.
        Unknown tokens are never drawn.

        Raises:
            NotFittedError: Before `fit`.
            DataError: If an argument cannot be used; or all tokens of the prompt are unknown.

        Warns:
            UserWarning: If some tokens of the prompt are unknown.
        """
        self._check_fitted("generate")
        stops = check_sampling(max_tokens, temperature, top_k, top_p, seed, stop)
        ids = encode_prompt(prompt, self.vocabulary_, several=self._several)
        rng = np.random.default_rng(seed)

        def draw(logits: np.ndarray) -> int:
            return choose(logits, temperature, top_k, top_p, rng)

        return continued(
            self._scorer, self.vocabulary_, ids, draw, max_tokens, stops, several=self._several
        )

    def _encode(self, texts: Any, name: str) -> Corpus:
        corpus = encode_corpus(texts, self.vocabulary_, name, several=self._several)
        check_known(corpus, texts, name)
        return corpus

    def _log_probabilities(self, corpus: Corpus) -> list[np.ndarray]:
        scores = self._scorer.log_probabilities(corpus.texts())
        return [score.astype(np.float64) for score in scores]

    @property
    def _embedding_size(self) -> int:
        if self.embedding_size is not None:
            return self.embedding_size
        return 64 if self.unit == "char" else 256

    def _plan(self, num_tokens: int) -> Any:
        from longshort.tasks._language_net import NetPlan

        return NetPlan(
            num_tokens,
            self._embedding_size,
            self.units,
            self.num_layers,
            self.unit != "char" if self.tie_weights is None else self.tie_weights,
            dropout=self.dropout,
            input_dropout=self.input_dropout,
            embedding_dropout=self.embedding_dropout,
            weight_drop=self.weight_drop,
            seed=self.seed,
        )

    def _build(self, num_tokens: int) -> LanguageNet:
        from longshort.tasks._language_net import LanguageNet

        return LanguageNet(self._plan(num_tokens))

    def _set_net(self, net: LanguageNet) -> None:
        from longshort.tasks._language_scoring import Scorer

        self._net, self._scorer, self.model_ = net, Scorer(net), net.model

    def _get_state(self) -> dict[str, Any]:
        return {
            "vocabulary": self.vocabulary_.get_state(),
            "size": len(self.vocabulary_),
            "several": self._several,
            "num_tokens": self.num_tokens_,
            "num_held_out": self.num_held_out_,
            "history": self.history_,
            "bigrams": self._bigrams.get_state(),
        }

    def _least_bytes(self, state: dict[str, Any]) -> int:
        check_params(self)
        if type(state["size"]) is not int or state["size"] < 5:
            raise ValueError(f"size is {state['size']!r}")
        return 2 * self._plan(state["size"]).num_weights()  # 2 bytes, of half precision

    def _set_state(self, state: dict[str, Any]) -> None:
        vocabulary = Vocabulary.from_state(state["vocabulary"])
        if len(vocabulary) != state["size"] or vocabulary.unit != self.unit:
            raise ValueError("broken vocabulary")
        for name, kind in (("several", bool), ("num_tokens", int), ("num_held_out", int)):
            if type(state[name]) is not kind:
                raise ValueError(f"{name} is {state[name]!r}")
        if type(state["history"]) is not list:
            raise ValueError("broken history")
        self._bigrams = Bigrams.from_state(state["bigrams"], len(vocabulary))
        self.vocabulary_, self._several = vocabulary, state["several"]
        self.num_tokens_, self.num_held_out_ = state["num_tokens"], state["num_held_out"]
        self.history_ = [float(loss) for loss in state["history"]]
        self._set_net(self._build(len(vocabulary)))


def _listed(texts: Any) -> list[Any]:
    try:
        return list(texts)
    except TypeError:
        raise DataError(
            f"LanguageModel.predict: expected a list of texts, got a {type(texts).__name__}."
        ) from None
