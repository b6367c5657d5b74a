"""Against other frameworks: torch.nn.LSTM, the ONNX operator, Keras' other backends.

Each test skips where the framework is absent; CI installs torch and onnxruntime.
"""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from longshort import ops
from longshort.ops import _library
from longshort.ops._inputs import LSTMInputs

needs_kernels = pytest.mark.skipif(_library.load() is None, reason="installed without a compiler")
B, T, D, H = 5, 11, 7, 37


def problem():
    rng = np.random.default_rng(0)
    shapes = ((B, T, D), (D, 4 * H), (H, 4 * H), (4 * H,), (B, H), (B, H))
    return [rng.normal(size=s).astype(np.float32) * 0.3 for s in shapes]


@needs_kernels
def test_torch_forward_and_gradients():
    torch = pytest.importorskip("torch")
    x, kernel, recurrent, bias, h0, c0 = problem()
    lstm = torch.nn.LSTM(D, H, batch_first=True)
    with torch.no_grad():  # torch keeps the gates in the same order
        lstm.weight_ih_l0.copy_(torch.from_numpy(kernel.T.copy()))
        lstm.weight_hh_l0.copy_(torch.from_numpy(recurrent.T.copy()))
        lstm.bias_ih_l0.copy_(torch.from_numpy(bias))
        lstm.bias_hh_l0.zero_()
    given = [torch.from_numpy(a.copy()).requires_grad_() for a in (x, h0, c0)]
    hs, (h, c) = lstm(given[0], (given[1][None], given[2][None]))
    arriving = np.random.default_rng(1).normal(size=(B, T, H)).astype(np.float32)
    (hs * torch.from_numpy(arriving)).sum().backward()

    inputs = LSTMInputs(x, kernel, recurrent, bias, None, h0, c0)
    out = _library.lstm_forward(inputs)
    gradients = _library.lstm_backward(inputs, out, dhs=arriving)
    expected = {
        "x": given[0].grad,
        "kernel": lstm.weight_ih_l0.grad.T,
        "recurrent_kernel": lstm.weight_hh_l0.grad.T,
        "bias": lstm.bias_ih_l0.grad,
        "h0": given[1].grad,
        "c0": given[2].grad,
    }
    np.testing.assert_allclose(out["hs"], hs.detach().numpy(), atol=2e-6)
    for name, value in expected.items():
        scale = float(value.abs().max())
        np.testing.assert_allclose(gradients[name] / scale, value.numpy() / scale, atol=2e-6)


@needs_kernels
def test_keeps_less_than_torch_for_the_backward_pass():
    torch = pytest.importorskip("torch")
    B, T, D, H = 32, 50, 64, 128
    lstm, x, kept = torch.nn.LSTM(D, H, batch_first=True), torch.randn(B, T, D), {}

    def count(tensor):
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        lstm(x)
    given = {p.data_ptr() for p in lstm.parameters()}
    theirs = sum(size for pointer, size in kept.items() if pointer not in given)
    ours = 4 * (sum(_library.saved_sizes(B, T, H)) + B * T * H)
    assert 2.5 * ours < theirs


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_projection_is_torchs():
    torch = pytest.importorskip("torch")
    x, kernel, _, bias, _, c0 = problem()
    lstm = torch.nn.LSTM(D, H, batch_first=True, proj_size=3)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(torch.from_numpy(kernel.T.copy()))
        lstm.bias_ih_l0.copy_(torch.from_numpy(bias))
        lstm.bias_hh_l0.zero_()
        h0 = torch.ones(1, B, 3)
        hs, (_, c) = lstm(torch.from_numpy(x), (h0, torch.from_numpy(c0)[None]))
    recurrent, projection = (w.detach().numpy().T for w in (lstm.weight_hh_l0, lstm.weight_hr_l0))
    state = (h0[0].numpy(), c0)
    ours, _, ours_c = ops.lstm(
        x, kernel, recurrent, bias, initial_state=state, projection=projection
    )
    np.testing.assert_allclose(ours, hs.numpy(), atol=2e-6)
    np.testing.assert_allclose(ours_c, c[0].numpy(), atol=2e-6)


def onnx_gates(weights):
    """i, f, c, o -> ONNX's i, o, f, c, rows first."""
    i, f, c, o = np.split(weights.T, 4)
    return np.concatenate([i, o, f, c])[None]


def onnx_lstm(x, kernel, recurrent, bias, h0, c0, lengths=None, peephole=None, **attributes):
    """The last h and c of ONNX's operator, for weights in Keras' order."""
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    given = {
        "X": x.transpose(1, 0, 2),
        "W": onnx_gates(kernel),
        "R": onnx_gates(recurrent),
        "B": np.concatenate([onnx_gates(bias), np.zeros((1, 4 * H), np.float32)], 1),
        "lengths": lengths,
        "h0": h0[None],
        "c0": c0[None],
        "P": None if peephole is None else np.concatenate(peephole[[0, 2, 1]])[None],
    }
    names = ["" if value is None else name for name, value in given.items()]
    values = {name: value for name, value in given.items() if value is not None}
    types = {n: TensorProto.INT32 if n == "lengths" else TensorProto.FLOAT for n in values}
    graph = helper.make_graph(
        [helper.make_node("LSTM", names, ["Y", "Y_h", "Y_c"], hidden_size=H, **attributes)],
        "lstm",
        [helper.make_tensor_value_info(n, types[n], v.shape) for n, v in values.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("Y", "Y_h", "Y_c")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])
    model.ir_version = 8
    _, h, c = runtime.InferenceSession(model.SerializeToString()).run(None, values)
    return h[0], c[0]


@needs_kernels
def test_onnx_operator_with_lengths():
    x, kernel, recurrent, bias, h0, c0 = problem()
    lengths = np.array([11, 3, 1, 7, 5], np.int32)
    h, c = onnx_lstm(x, kernel, recurrent, bias, h0, c0, lengths)
    mask = np.arange(T) < lengths[:, None]
    _, ours_h, ours_c = ops.lstm(
        x, kernel, recurrent, bias, mask=mask, initial_state=(h0, c0), path="kernel"
    )
    np.testing.assert_allclose(ours_h, h, atol=2e-6)
    np.testing.assert_allclose(ours_c, c, atol=2e-6)


PEEPHOLE = np.random.default_rng(3).normal(size=(3, H)).astype(np.float32)


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        ({"peephole": PEEPHOLE}, {"peephole": PEEPHOLE}),
        ({"coupled": True}, {"input_forget": 1}),
        ({"activation": "relu"}, {"activations": ["Sigmoid", "Relu", "Relu"]}),
        ({"activation": "softsign"}, {"activations": ["Sigmoid", "Softsign", "Softsign"]}),
        (
            {"activation": "linear"},
            {
                "activations": ["Sigmoid", "Affine", "Affine"],
                "activation_alpha": [1.0, 1.0],
                "activation_beta": [0.0, 0.0],
            },
        ),
        (
            {"recurrent_activation": "hard_sigmoid"},
            {
                "activations": ["HardSigmoid", "Tanh", "Tanh"],
                "activation_alpha": [1 / 6],
                "activation_beta": [0.5],
            },
        ),
    ],
    ids=lambda value: "-".join(value),
)
def test_onnx_operator_has_the_variants_of_the_page(options, attributes):
    x, kernel, recurrent, bias, h0, c0 = problem()
    weights = theirs = (kernel, recurrent, bias)
    if "coupled" in options:
        # ONNX computes i and takes f = 1 - i: R(-z) = 1 - R(z).
        weights = [w[..., H:] for w in weights]
        theirs = [np.concatenate([-w[..., :H], w], -1) for w in weights]
    h, c = onnx_lstm(x, *theirs, h0, c0, **attributes)
    _, ours_h, ours_c = ops.lstm(x, *weights, initial_state=(h0, c0), **options)
    np.testing.assert_allclose(ours_h, h, atol=1e-5)
    np.testing.assert_allclose(ours_c, c, atol=1e-5)


OTHER_BACKEND = """
import warnings
import numpy as np
warnings.simplefilter("ignore")
import longshort, keras
from longshort.ops import lstm
from longshort.ops._inputs import LSTMInputs
from longshort.ops._reference import lstm_forward
assert longshort.ops.choose_path().name == "keras"
rng = np.random.default_rng(0)
x, mask = rng.normal(size=(3, 6, 4)).astype("f4"), rng.random((3, 6)) < 0.6
layer = longshort.layers.LSTM(9, return_sequences=True)
layer.build(x.shape)
weights = [rng.normal(size=w.shape).astype("f4") for w in layer.get_weights()]
layer.set_weights(weights)
expected = lstm_forward(LSTMInputs(x, *weights, mask=mask)).hs
actual = keras.ops.convert_to_numpy(layer(x, mask=mask))
assert np.abs(actual - expected).max() < 1e-5
model = keras.Sequential([keras.Input((6, 4)), longshort.layers.LSTM(9), keras.layers.Dense(1)])
model.compile(loss="mse", optimizer="adam")
losses = model.fit(x, np.ones((3, 1)), epochs=5, verbose=0).history["loss"]
assert losses[-1] < losses[0]
"""


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_other_keras_backends_take_the_keras_path(backend):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend}
    subprocess.run([sys.executable, "-c", OTHER_BACKEND], check=True, env=environment, timeout=300)
