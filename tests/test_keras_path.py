"""The keras.ops path against the reference: every option alone, and all pairs."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from longshort.ops import _keras
from longshort.ops._inputs import LSTMInputs
from longshort.ops._reference import lstm_backward, lstm_forward
from variants import ALONE, PAIRS, SEVERAL, settings, variant_arguments

B, T, D, H = 3, 5, 2, 6


def run(inputs):
    functions = map(keras.activations.get, (inputs.activation, inputs.recurrent_activation))
    return _keras.lstm(inputs, *functions)


def problem(names, seed=0, **more):
    """All arrays, a mask, dropout factors, in float64."""
    rng = np.random.default_rng(seed)
    arguments = variant_arguments(rng, B, T, D, H, **settings(*names)) | more
    P = arguments["recurrent_kernel"].shape[0]
    arguments["x"] = rng.normal(size=(B, T, D))
    arguments["mask"] = rng.random((B, T)) < 0.7
    arguments["x_dropout"] = rng.random((4, B, D)) * 2
    arguments["h_dropout"] = rng.random((4, B, P)) * 2
    return {
        name: np.asarray(value, "f8") if getattr(value, "dtype", None) == np.float32 else value
        for name, value in arguments.items()
    }


def check(names):
    arguments = problem(names, reverse=len(names) == 2)
    expected = lstm_forward(LSTMInputs(**arguments))
    outputs = (expected.hs, expected.h_last, expected.c_last)
    rng = np.random.default_rng(1)
    arriving = [rng.normal(size=array.shape) for array in outputs]
    gradients = lstm_backward(LSTMInputs(**arguments), expected, *arriving)
    rest = {name: value for name, value in arguments.items() if name not in gradients}

    def value(given):
        results = run(LSTMInputs(**given, **rest))
        return sum(jnp.vdot(a, r) for a, r in zip(arriving, results, strict=True)), results

    with jax.enable_x64(True):
        given = {name: jnp.asarray(arguments[name]) for name in gradients}
        actual, results = jax.grad(value, has_aux=True)(given)
    # XLA's tanh is float32's on the CPU, in float64 too.
    for a, e in zip(results, outputs, strict=True):
        np.testing.assert_allclose(a, e, rtol=2e-6, atol=2e-6)
    for name, e in gradients.items():
        np.testing.assert_allclose(actual[name], e, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("names", ALONE + SEVERAL[:3], ids="-".join)
def test_results_and_gradients(names):
    check(names)


@pytest.mark.slow
@pytest.mark.parametrize("names", PAIRS + SEVERAL[3:], ids="-".join)
def test_results_and_gradients_of_all_pairs(names):
    check(names)
