"""The variants of `longshort.layers.LSTM`: the reference, and Keras' machinery."""

import os
import subprocess
import sys
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import longshort
from longshort._errors import DataError
from longshort.layers import LSTM, Bidirectional, LSTMCell
from longshort.ops._inputs import LSTMInputs
from longshort.ops._reference import lstm_backward, lstm_forward
from variants import ALONE, SEVERAL

pytestmark = pytest.mark.filterwarnings("ignore::longshort.PathWarning")
B, T, D, H = 3, 5, 2, 6

# What the names of `variants.OPTIONS` are for a layer.
OPTIONS = {
    "peephole": {"peephole": True},
    "coupled": {"coupled": True},
    "projection": {"projection": 3},
    "layer_norm": {"layer_norm": True},
    "relu": {"activation": "relu"},
    "softsign": {"activation": "softsign"},
    "linear": {"activation": "linear"},
    "hard_sigmoid": {"recurrent_activation": "hard_sigmoid"},
    "cell_clip": {"cell_clip": 0.6},
    "expected_zoneout": {"zoneout": (0.2, 0.4)},
    "zoneout": {"zoneout": (0.3, 0.2)},
    "update_dropout": {"recurrent_dropout": 0.4, "recurrent_dropout_on": "update"},
}
# Every option that the layer adds, in two sets.
ALL = {"peephole": True, "projection": 3, "layer_norm": True, "cell_clip": 0.6, "zoneout": 0.2}
MOST = {"peephole": True, "coupled": True, "zoneout": (0.3, 0.2), "weight_drop": 0.5}


def data(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(B, T, D)).astype("f4"), rng.random((B, T)) < 0.7


def made(options, cls=LSTM, shape=(B, T, D), **more):
    """A layer with random weights; the same for the same options."""
    layer = cls(H, **options, **more)
    layer.build(shape)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=w.shape) * 0.6 for w in layer.weights])
    return layer


def reference_inputs(layer, x, **more):
    """The call of a layer as the reference's arguments, its weights read out by their names."""
    cell = layer.cell
    weights = {w.name: np.asarray(w.value) for w in layer.weights}
    for theirs, ours in (("peephole_weights", "peephole"), ("projection_kernel", "projection")):
        if theirs in weights:
            weights[ours] = weights.pop(theirs)
    return LSTMInputs(
        x=x,
        **weights,
        coupled=layer.variant.coupled,
        activation=cell.activation.__name__,
        recurrent_activation=cell.recurrent_activation.__name__,
        cell_clip=layer.variant.cell_clip,
        zoneout=layer.variant.zoneout,
        update_dropout=cell.recurrent_dropout if "noise_key" in more else 0.0,
        reverse=layer.go_backwards,
        **more,
    )


def close(actual, expected, bound=1e-5):
    for a, e in zip(actual, expected, strict=True):
        e = np.asarray(e)
        assert a.shape == e.shape
        assert np.abs(np.asarray(a) - e).max() <= bound * max(1.0, np.abs(e).max())


@pytest.mark.parametrize("names", ALONE + SEVERAL, ids="-".join)
def test_layer_is_the_reference(names):
    options = {key: value for name in names for key, value in OPTIONS[name].items()}
    training = {"zoneout", "update_dropout"} & set(names) != set()
    layer = made(options, return_sequences=True, return_state=True, go_backwards=len(names) > 5)
    x, mask = data()
    rng = np.random.default_rng(2)
    state = [rng.normal(size=(B, size)).astype("f4") for size in layer.state_size]
    noise = {"noise_key": np.asarray(layer.cell.seed_generator.state)} if training else {}
    inputs = reference_inputs(layer, x, mask=mask, h0=state[0], c0=state[1], **noise)
    expected = lstm_forward(inputs)
    outputs = (expected.hs, expected.h_last, expected.c_last)
    arriving = [rng.normal(size=a.shape).astype("f4") for a in outputs]
    gradients = lstm_backward(inputs, expected, *arriving)

    def value(weights, x, state):
        results, _ = layer.stateless_call(
            weights,
            [v.value for v in layer.non_trainable_variables],
            x,
            initial_state=state,
            mask=mask,
            training=training,
        )
        return sum(jnp.vdot(a, r) for a, r in zip(arriving, results, strict=True)), results

    weights = [v.value for v in layer.trainable_variables]
    (dweights, dx, dstate), results = jax.grad(value, (0, 1, 2), has_aux=True)(weights, x, state)
    close(results, outputs)
    expected = {"h0": gradients.pop("h0"), "c0": gradients.pop("c0")}
    close([dx, *dstate], [gradients.pop("x"), *expected.values()], 3e-5)
    names = [v.name for v in layer.trainable_variables]
    renamed = {"peephole_weights": "peephole", "projection_kernel": "projection"}
    close(dweights, [gradients[renamed.get(name, name)] for name in names], 3e-5)
    assert len(names) == len(gradients)


@pytest.mark.parametrize("options", [ALL, MOST], ids=["all", "most"])
def test_any_padding_equals_each_row_alone(options):
    layer = made(options, return_state=True)
    rng = np.random.default_rng(0)
    x, mask = np.full((B, T, D), np.nan, "f4"), np.zeros((B, T), bool)
    rows = [rng.normal(size=(n, D)).astype("f4") for n in (4, 1, 2)]
    for row, steps in enumerate(([0, 1, 2, 3], [4], [1, 3])):  # right, left, gaps
        mask[row, steps], x[row, steps] = True, rows[row]
    together = layer(x, mask=mask)
    for row, alone in enumerate(rows):
        close([a[row : row + 1] for a in together], layer(alone[None]))


@pytest.mark.parametrize("options", [ALL, MOST], ids=["all", "most"])
def test_a_sequence_in_parts_equals_the_whole(options):
    x, _ = data()
    layer = made(options, return_state=True)
    whole = layer(x)
    first = layer(x[:, :2])
    assert [tuple(s.shape) for s in first[1:]] == [(B, layer.state_size[0]), (B, H)]
    close(layer(x[:, 2:], initial_state=first[1:]), whole)


@pytest.mark.parametrize("options", [{"projection": 3}, MOST], ids=["projection", "most"])
def test_stateful(options):
    x, _ = data()
    stateful = made(options, stateful=True)
    parts = [stateful(part) for part in (x[:, :2], x[:, 2:])]
    close(parts[1:], [made(options)(x)])
    stateful.reset_state()
    close([stateful(x[:, :2])], parts[:1])


def test_shapes_that_keras_works_out():
    given = keras.Input((None, D))
    sequences, h, c = LSTM(H, **ALL, return_sequences=True, return_state=True)(given)
    assert [s.shape for s in (sequences, h, c)] == [(None, None, 3), (None, 3), (None, H)]
    assert LSTM(H, **ALL).compute_output_shape((2, 4, D)) == (2, 3)
    assert Bidirectional(LSTM(H, **ALL))(given).shape == (None, 6)
    windows = keras.layers.TimeDistributed(LSTM(H, **MOST, projection=2))
    assert windows(keras.Input((4, T, D))).shape == (None, 4, 2)


def test_training_through_fit_and_files(tmp_path):
    x, _ = data()
    model = keras.Sequential(
        [
            keras.Input((T, D)),
            Bidirectional(LSTM(H, **MOST, return_sequences=True)),
            LSTM(H, cell_clip=2.0, recurrent_dropout=0.2, recurrent_dropout_on="update"),
        ]
    )
    model.compile(loss="mse", optimizer=keras.optimizers.Adam(0.03))
    history = model.fit(x, np.zeros((B, H)), epochs=15, verbose=0).history["loss"]
    assert history[-1] < history[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded(x), model(x))
    assert loaded.layers[0].forward_layer.variant == model.layers[0].forward_layer.variant
    program = f"import keras; keras.saving.load_model({str(tmp_path / 'model.keras')!r})"
    failed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert failed.returncode and "longshort>Bidirectional" in failed.stderr


def test_files_and_the_way_back(tmp_path):
    x, _ = data()
    model = keras.Sequential([keras.Input((T, D)), LSTM(H, **ALL, name="mine")])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded(x), model(x))
    assert loaded.layers[0].get_config() == model.layers[0].get_config()
    with pytest.raises(DataError, match="got mine with peephole, projection, .*load it where"):
        longshort.to_keras(model)
    assert type(model.layers[0]) is LSTM
    plain = keras.Sequential([keras.Input((T, D)), LSTM(H, peephole=False)])
    assert type(longshort.to_keras(plain).layers[0]) is keras.layers.LSTM


@pytest.mark.parametrize(
    ("wrapper", "options"),
    [(Bidirectional, ALL), (Bidirectional, MOST), (keras.layers.Bidirectional, MOST)],
    ids=["all", "most", "keras-most"],
)
def test_bidirectional_is_two_layers(wrapper, options):
    x, mask = data()
    both = wrapper(LSTM(H, **options, return_sequences=True, return_state=True))
    both.build(x.shape)
    alone = []
    for name in ("forward_layer", "backward_layer"):
        layer = made(options, return_sequences=True, return_state=True)
        layer.go_backwards = name == "backward_layer"
        layer.zero_output_for_mask = True
        getattr(both, name).set_weights(layer.get_weights())
        alone.append(layer(x, mask=mask))
    forward, backward = alone
    h = np.concatenate([forward[0], np.flip(backward[0], 1)], -1)
    close(both(x, mask=mask), [h, *forward[1:], *backward[1:]])
    if wrapper is Bidirectional:
        assert both._fits_together() == (both.forward_layer.kernel_path.name == "kernel")


def test_different_directions_do_not_run_side_by_side():
    for forward, backward in (
        ({}, {"peephole": True}),
        ({"zoneout": 0.1}, {"zoneout": 0.2}),
        ({"activation": "relu"}, {}),
        (
            {"recurrent_dropout": 0.1, "recurrent_dropout_on": "update"},
            {"recurrent_dropout": 0.2, "recurrent_dropout_on": "update"},
        ),
    ):
        layers = LSTM(H, **forward), LSTM(H, go_backwards=True, **backward)
        both = Bidirectional(layers[0], backward_layer=layers[1])
        assert not both._fits_together()


@pytest.mark.parametrize(
    "options",
    [
        {"peephole": True},
        {"projection": 3, "dropout": 0.3, "implementation": 1},
        {"coupled": True, "weight_drop": 0.5, "recurrent_dropout": 0.2},
        MOST,
    ],
    ids=lambda options: "-".join(options),
)
def test_cell_in_keras_rnn_is_the_layer(options):
    x, mask = data()
    more = {"return_sequences": True, "return_state": True}
    training = "zoneout" not in options  # whose noise a cell in a loop cannot draw
    results = []
    for layer in (
        LSTM(H, **options, **more, seed=3),
        keras.layers.RNN(LSTMCell(H, **options, seed=3), **more),
    ):
        layer.build(x.shape)
        layer.set_weights(made(options).get_weights())
        results.append([*layer(x, mask=mask, training=training), *layer(x)])
    close(*results)


def test_cells():
    x, _ = data()
    plain, theirs = LSTMCell(H, dropout=0.2, seed=1), keras.layers.LSTMCell(H, dropout=0.2, seed=1)
    assert plain.get_config() == theirs.get_config() | {"name": plain.name}
    stacked = keras.layers.RNN([LSTMCell(H, projection=4), LSTMCell(3, **MOST)])
    assert stacked(x).shape == (B, 3)
    assert keras.layers.RNN.from_config(stacked.get_config()).get_config() == stacked.get_config()
    with pytest.raises(DataError, match="draw new noise at each step.*longshort.layers.LSTM"):
        stacked(x, training=True)
    cell = made({"zoneout": 0.5, "seed": 4}, LSTMCell, (B, D))
    states = cell.get_initial_state(B)
    one, other = (cell(x[:, 0], states, training=True)[0] for _ in range(2))
    assert 0.2 < np.mean(np.asarray(one) == 0) < 0.8
    assert not np.array_equal(one, other)
    model = keras.Sequential([keras.Input((T, D)), keras.layers.RNN(LSTMCell(H))])
    assert type(longshort.to_keras(model).layers[0].cell) is keras.layers.LSTMCell
    with pytest.raises(DataError, match="got lstm_cell.* with peephole"):
        longshort.to_keras(keras.Sequential([keras.Input((T, D)), stacked]))


def test_noise_of_training():
    many, steps, rate = 400, 3, 0.3
    x = np.random.default_rng(0).normal(size=(many, steps, D)).astype("f4")
    more = {"return_sequences": True, "return_state": True, "shape": x.shape, "seed": 7}
    noisy, same = (made({"zoneout": (rate, 0.0)}, **more) for _ in range(2))
    hs = np.asarray(noisy(x, training=True)[0])
    stayed = np.diff(hs, axis=1, prepend=0) == 0
    assert np.abs(stayed.mean((0, 2)) - rate).max() < 0.03  # at each step
    assert np.abs(stayed.mean((0, 1)) - rate).max() < 0.05  # in each unit
    assert np.abs((stayed[:, 0] & stayed[:, 1]).mean() - rate**2) < 0.03  # independent
    assert np.array_equal(hs, same(x, training=True)[0])  # by the seed
    assert not np.array_equal(hs, noisy(x, training=True)[0])  # new in each call
    assert np.array_equal(noisy(x)[0], noisy(x)[0])
    # The mean of what zoneout does in training at one step is what it does outside.
    first = np.mean([noisy(x[:, :1], training=True)[0] for _ in range(30)], 0)
    assert np.abs(first - noisy(x[:, :1])[0]).mean() < 0.03

    dropped = made({"recurrent_dropout": 0.4, "recurrent_dropout_on": "update"}, **more)
    assert np.abs((np.asarray(dropped(x[:, :1], training=True)[2]) == 0).mean() - 0.4) < 0.03
    plain = made({}, **more)
    close(dropped(x), plain(x))
    mean = np.mean([dropped(x[:, :1], training=True)[2] for _ in range(30)], 0)
    assert np.abs(mean - plain(x[:, :1])[2]).mean() < 0.05


def test_weight_drop():
    layer = made({"weight_drop": 0.5, "recurrent_initializer": "ones"}, seed=2)
    layer.cell.recurrent_kernel.assign(np.ones((H, 4 * H)))
    factors = np.asarray(layer.cell.weight_factors())
    assert set(np.unique(factors)) == {0.0, 2.0}
    x, _ = data()
    again, plain = made({}), made({})
    for other, U in ((again, factors), (plain, np.ones_like(factors))):
        other.cell.recurrent_kernel.assign(U)
    layer._maybe_reset_dropout_masks(layer.cell)
    layer.cell.seed_generator.state.assign([2, 0])
    close([layer(x, training=True)], [again(x)])  # one mask for all steps
    close([layer(x)], [plain(x)])
    assert not np.array_equal(layer(x, training=True), layer(x, training=True))


@pytest.mark.parametrize("options", [ALL, MOST], ids=["all", "most"])
def test_mixed_bfloat16(options):
    x, mask = data()
    expected = made(options, return_sequences=True)(x, mask=mask)
    layer = made(options, return_sequences=True, dtype="mixed_bfloat16")
    actual = layer(x, mask=mask)
    assert actual.dtype == "bfloat16" and {w.dtype for w in layer.weights} == {"float32"}
    assert np.abs(np.asarray(actual, "f4") - np.asarray(expected)).max() < 0.05


def test_initial_weights():
    layer = LSTM(H, **ALL)
    layer.build((B, T, D))
    weights = {w.name: np.asarray(w.value) for w in layer.weights}
    assert {name: w.shape for name, w in weights.items()} == {
        "kernel": (D, 4 * H),
        "recurrent_kernel": (3, 4 * H),
        "bias": (4 * H,),
        "peephole_weights": (3, H),
        "projection_kernel": (H, 3),
        "norm_gains": (2, 4 * H),
        "norm_cell": (2, H),
    }
    assert 0 < np.abs(weights["peephole_weights"]).max() <= (3 / H) ** 0.5
    assert (weights["norm_gains"] == 1).all() and (weights["norm_cell"][1] == 0).all()
    for coupled, bias in ((False, [0, 1, 0, 0]), (True, [1, 0, 0])):
        layer = LSTM(H, coupled=coupled, projection=2)
        layer.build((B, T, D))
        assert np.array_equal(layer.cell.bias, np.repeat(bias, H))
    layer = LSTM(H, coupled=True, unit_forget_bias=False, bias_initializer="ones")
    layer.build((B, T, D))
    assert np.array_equal(layer.cell.bias, np.ones(3 * H))


def test_regularizers_and_constraints():
    layer = LSTM(
        H,
        projection=3,
        kernel_regularizer="l2",
        recurrent_regularizer="l1",
        bias_regularizer="l2",
        kernel_constraint="non_neg",
    )
    layer(data()[0])
    assert len(layer.losses) == 3
    assert [w.constraint is not None for w in layer.weights] == [True, False, False, False]


def test_config():
    plain = keras.layers.LSTM(H, name="lstm")
    defaults = {"zoneout": 0.0, "peephole": False, "recurrent_dropout_on": "state"}
    assert LSTM(H, name="lstm", **defaults).get_config() == plain.get_config()
    assert type(LSTM(H, **defaults).cell) is keras.layers.LSTMCell
    assert [type(layer) for layer in LSTM(H, **MOST)._flatten_layers()] == [LSTM, LSTMCell]
    assert len(LSTM(H, **MOST).variables) == len(plain.variables) == 1  # the seed's state
    layer = LSTM(H, **MOST, recompute=True, recurrent_dropout=0.1, implementation=1)
    config = layer.get_config()
    assert config.keys() - plain.get_config().keys() == {*MOST, "recompute"}
    assert LSTM.from_config(config).get_config() == config


@pytest.mark.parametrize("cls", [LSTM, LSTMCell])
def test_bad_arguments(cls):
    for options, message in (
        ({"recurrent_dropout_on": "cell"}, "recurrent_dropout_on as 'state' .* got 'cell'"),
        ({"zoneout": 1.0}, r"zoneout as one rate in \[0, 1\), or a pair .* got 1.0"),
        ({"zoneout": (0.1, -0.1)}, r"got \(0.1, -0.1\)"),
        ({"zoneout": (0.1,)}, r"got \(0.1,\)"),
        ({"weight_drop": 1.5}, r"weight_drop as a rate in \[0, 1\), got 1.5"),
        ({"projection": 0}, "projection as a whole number of at least 1 .* got 0"),
        ({"projection": True}, "got True"),
        ({"cell_clip": 0}, "cell_clip as a number above 0 or None, got 0"),
        ({"peephole": "yes"}, "peephole as True or False, got 'yes'"),
        ({"cell_clip": -1.0, "weight_drop": None}, "weight_drop .* got None; cell_clip"),
        (
            {"recurrent_dropout": 1.0, "recurrent_dropout_on": "update"},
            "recurrent_dropout below 1 for recurrent_dropout_on='update', got 1.0",
        ),
    ):
        with pytest.raises(DataError, match=message):
            cls(H, **options)
    cls(H, recurrent_dropout_on="update")  # nothing to drop is nothing wrong


@pytest.mark.parametrize("options", [{}, ALL, MOST], ids=["plain", "all", "most"])
def test_trace(options):
    x, mask = data()
    layer = made(options, return_sequences=True, return_state=True, go_backwards=True)
    hs, _, c = layer(x, mask=mask)
    steps = layer.trace(x, mask)
    close([steps["h"], steps["c"][:, -1]], [hs, c])
    inputs = reference_inputs(layer, x, mask=mask)
    for s, step in enumerate(lstm_forward(inputs).steps):
        expected = [np.where(step.keep, gate, 0) for gate in (step.i, step.f, step.g, step.o)]
        close([steps[name][:, s] for name in "ifgo"], expected)
    with pytest.raises(DataError, match="got"):
        layer.trace(x[0])


ON_TORCH = """
import sys, warnings
sys.path.insert(0, "tests")
warnings.simplefilter("ignore")
import keras, numpy as np
from longshort.layers import LSTM
from longshort.ops import _keras
from longshort.ops._inputs import LSTMInputs
from longshort.ops._reference import lstm_forward
from variants import SEVERAL, settings, variant_arguments
rng = np.random.default_rng(0)
x, mask = rng.normal(size=(3, 5, 2)), rng.random((3, 5)) < 0.7
for names in SEVERAL:
    given = variant_arguments(rng, 3, 5, 2, 6, **settings(*names)) | {"x": x, "mask": mask}
    inputs = LSTMInputs(**given)
    functions = map(keras.activations.get, (inputs.activation, inputs.recurrent_activation))
    tensors = {n: keras.ops.convert_to_tensor(v) if isinstance(v, np.ndarray) and n != "noise_key"
               else v for n, v in given.items()}
    hs, h, c = _keras.lstm(LSTMInputs(**tensors), *functions)
    expected = lstm_forward(inputs)
    for actual, wanted in ((hs, expected.hs), (h, expected.h_last), (c, expected.c_last)):
        assert np.abs(keras.ops.convert_to_numpy(actual) - wanted).max() < 1e-6, names
options = dict(peephole=True, projection=3, layer_norm=True, zoneout=0.2, weight_drop=0.3)
model = keras.Sequential([keras.Input((5, 2)), LSTM(6, **options)])
model.compile(loss="mse", optimizer=keras.optimizers.Adam(0.03))
losses = model.fit(x, np.zeros((3, 3)), epochs=15, verbose=0).history["loss"]
assert losses[-1] < losses[0]
assert model.layers[0].trace(x)["h"].shape == (3, 5, 3)
"""


def test_torch_backend():
    if find_spec("torch") is None:
        pytest.skip("torch is not installed")
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", ON_TORCH], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
