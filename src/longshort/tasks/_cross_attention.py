"""Attention of a decoder over what an encoder has read."""

from __future__ import annotations

from typing import Any

import keras

from longshort.ops._attention import attend

Tensor = Any

KINDS = ("additive", "dot", "general")


@keras.saving.register_keras_serializable("longshort")
class CrossAttention(keras.layers.Layer):
    """Mean of the source's vectors, weighted by how well each fits a step of the target.

        a_ts = softmax over s of e_ts    context_t = sum over s of a_ts value_s
        e_ts = v' tanh(q_t + k_s)        (additive: Bahdanau et al. 2015)
        e_ts = q_t k_s                   (dot, general: Luong et al. 2015)

    Whether queries and keys are states or linear maps of them is up to the caller; with `general`
    keys are W h_s, with `additive` both are maps.

    Args:
        kind: `"additive"`, `"dot"` or `"general"`.
        seed: Of v.
        kwargs: `name`, `dtype`.

    Shapes:
        Queries (B, T, A), keys (B, S, A), values (B, S, D) and the mask of the source (B, S) to
        context (B, T, D) and weights (B, T, S), which are 0 where the mask is False.

    Example:
        >>> layer = CrossAttention("dot")
        >>> keys = np.array([[[0.0], [9.0], [9.0]]], "float32")
        >>> mask = np.array([[True, True, False]])
        >>> _, weights = layer(np.ones((1, 1, 1), "float32"), keys, keys, mask)
        >>> np.round(np.array(weights), 3).tolist()
        [[[0.0, 1.0, 0.0]]]
    """

    def __init__(self, kind: str, *, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind, self.seed = kind, seed
        self.supports_masking = True

    def build(self, query: Any, *_: Any) -> None:
        """Create v where there is one."""
        if self.kind == "additive":
            first = keras.initializers.RandomNormal(0.0, query[-1] ** -0.5, self.seed)
            self.v = self.add_weight(shape=(query[-1],), name="v", initializer=first)
        self.built = True

    def call(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Any:
        """Attend; see the class."""
        return attend(query, keys, values, mask, self.v if self.kind == "additive" else None)

    def compute_mask(self, *_: Any, **__: Any) -> Any:
        """Return that the outputs have none."""
        return None, None

    def compute_output_spec(self, query: Any, keys: Any, values: Any, mask: Any) -> Any:
        """Return shapes and types of context and weights."""
        each = [(*query.shape[:2], values.shape[-1]), (*query.shape[:2], keys.shape[1])]
        return tuple(keras.KerasTensor(shape, dtype=self.compute_dtype) for shape in each)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return super().get_config() | {"kind": self.kind, "seed": self.seed}
