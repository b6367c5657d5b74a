"""`EmbeddingDropout`: dropout of whole words."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from longshort._errors import DataError

Tensor = Any


@keras.saving.register_keras_serializable("longshort")
class EmbeddingDropout(keras.layers.Layer):
    """Drop words: in training the vectors of some tokens are 0, at all their places in a sequence.

        y_bt = x_bt m_b[id_bt] / (1 - rate)         m_b[i] = 0 with probability `rate`, else 1

    So a network cannot lean on single words, as it could where a word that is dropped at one place
    stands at another too (Gal and Ghahramani 2016). Each sequence of a batch drops its own words.

    Its companion, one mask of channels for all steps of a sequence ("locked" or "variational"
    dropout in the same paper), is `keras.layers.SpatialDropout1D`.

    Args:
        num_tokens: V; numbers of tokens lie from 0 to V - 1.
        rate: Share of the tokens that are dropped, from 0 to below 1.
        seed: Of the noise.
        kwargs: `name`, `dtype`.

    Shapes:
        Vectors (B, T, D) and numbers of their tokens (B, T), integers, to (B, T, D).

    Raises:
        DataError: If an argument cannot be used.

    Example:
        >>> layer = longshort.layers.EmbeddingDropout(10, 0.5, seed=0)
        >>> ids = np.array([[3, 7, 3, 5, 5]])
        >>> y = np.array(layer(np.ones((1, 5, 2)), ids, training=True))
        >>> bool((y[0, 0] == y[0, 2]).all() and (y[0, 3] == y[0, 4]).all())
        True
    """

    def __init__(
        self, num_tokens: int, rate: float, *, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(num_tokens, bool) or not isinstance(num_tokens, int) or num_tokens < 1:
            raise DataError(
                f"EmbeddingDropout: num_tokens must be a whole number from 1, got {num_tokens!r}."
            )
        if not isinstance(rate, (int, float)) or not 0 <= rate < 1:
            raise DataError(
                f"EmbeddingDropout: rate must be a number from 0 to below 1, got {rate!r}."
            )
        self.num_tokens, self.rate, self.seed = num_tokens, rate, seed
        self.supports_masking = True
        if rate:
            self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def call(self, vectors: Tensor, ids: Tensor, training: bool = False) -> Tensor:
        """Drop words in training; see the class."""
        if not training or not self.rate:
            return vectors
        # One number a token for the batch and one a sequence instead of B V of them. Their sum
        # modulo 1 is as random, and independent between the tokens of a sequence.
        tokens = keras.random.uniform((self.num_tokens,), seed=self.seed_generator)
        rows = keras.random.uniform((ops.shape(ids)[0], 1), seed=self.seed_generator)
        noise = ops.mod(ops.take(tokens, ids, axis=0) + rows, 1.0)
        factor = ops.where(noise >= self.rate, 1.0 / (1.0 - self.rate), 0.0)
        return vectors * ops.cast(ops.expand_dims(factor, -1), vectors.dtype)

    def compute_output_shape(self, vectors_shape: Any, ids_shape: Any) -> Any:
        """Return the shape of the vectors."""
        return vectors_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        own = {"num_tokens": self.num_tokens, "rate": self.rate, "seed": self.seed}
        return super().get_config() | own
