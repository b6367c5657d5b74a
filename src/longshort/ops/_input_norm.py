"""Layer norm of what the inputs add to the gates, for the kernels called from NumPy.

The kernels normalise within the loop over time; x W + b, which needs no loop, comes to them done:
from here where NumPy calls them, from XLA in the JAX door.
"""

from __future__ import annotations

import numpy as np

from longshort.ops._inputs import LSTMInputs
from longshort.ops._reference import Array, _Layer, _Norm


class InputNorm:
    """norm(x W) + b of all steps, and its gradients.

    Attributes:
        value: Shape (B, T, 4H) in float32, in the order of time; zeros for i where it is coupled.
    """

    def __init__(self, inputs: LSTMInputs) -> None:
        self._layer = _Layer(inputs)
        x = self._x = np.asarray(inputs.x, np.float64)
        self._norms = [
            _Norm.of(self._layer.product(x[:, t], *self._weights()), self._layer.gains[0])
            for t in range(x.shape[1])
        ]
        value = np.stack([norm.value for norm in self._norms], 1) + self._layer.bias
        missing = 4 * inputs.units - value.shape[-1]
        self.value = np.pad(value, ((0, 0), (0, 0), (missing, 0))).astype(np.float32)

    def _weights(self) -> tuple[Array, Array]:
        return self._layer.x_dropout, self._layer.kernel

    def backward(self, d: Array) -> dict[str, Array]:
        """The gradients of `x`, `kernel`, `bias` and of the `gain`, from that of the value."""
        dx = np.zeros_like(self._x)
        dgain, dkernel = np.zeros_like(self._layer.gains[0]), np.zeros_like(self._layer.kernel)
        for t, norm in enumerate(self._norms):
            dv, of_gain = norm.backward(d[:, t])
            dx[:, t], of_kernel = self._layer.product_backward(dv, self._x[:, t], *self._weights())
            dgain += of_gain
            dkernel += of_kernel
        columns = dkernel.reshape(len(dkernel), -1)
        return {"x": dx, "kernel": columns, "bias": d.sum((0, 1)), "gain": dgain}
