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
def test_onnx_operator_with_lengths():
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    x, kernel, recurrent, bias, h0, c0 = problem()
    lengths = np.array([11, 3, 1, 7, 5], np.int32)

    def onnx_gates(weights):  # i, f, c, o -> ONNX's i, o, f, c, rows first
        i, f, c, o = np.split(weights.T, 4)
        return np.concatenate([i, o, f, c])[None]

    names = ["X", "W", "R", "B", "lengths", "h0", "c0"]
    values = [
        x.transpose(1, 0, 2),
        onnx_gates(kernel),
        onnx_gates(recurrent),
        np.concatenate([onnx_gates(bias), np.zeros((1, 4 * H), np.float32)], 1),
        lengths,
        h0[None],
        c0[None],
    ]
    types = [TensorProto.INT32 if n == "lengths" else TensorProto.FLOAT for n in names]
    graph = helper.make_graph(
        [helper.make_node("LSTM", names, ["Y", "Y_h", "Y_c"], hidden_size=H)],
        "lstm",
        [
            helper.make_tensor_value_info(n, t, v.shape)
            for n, t, v in zip(names, types, values, strict=True)
        ],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("Y", "Y_h", "Y_c")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])
    model.ir_version = 8
    session = runtime.InferenceSession(model.SerializeToString())
    _, h, c = session.run(None, dict(zip(names, values, strict=True)))
    mask = np.arange(T) < lengths[:, None]
    _, ours_h, ours_c = ops.lstm(
        x, kernel, recurrent, bias, mask=mask, initial_state=(h0, c0), path="kernel"
    )
    np.testing.assert_allclose(ours_h, h[0], atol=2e-6)
    np.testing.assert_allclose(ours_c, c[0], atol=2e-6)


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
