"""`longshort.ops.gru` and `longshort.layers.GRU` against the reference and `keras.layers.GRU`."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import longshort
from longshort import ops
from longshort._errors import DataError, PathWarning
from longshort.layers import GRU, Bidirectional, StackedRNN
from longshort.ops import _paths
from longshort.ops._gru_reference import gru_backward, gru_forward
from test_gru import arriving, make_inputs, needs_kernels
from test_lstm_layer import B, D, H, T, assert_agree, data, value_and_gradients, with_random_weights

OPTIONS = {
    "return_sequences": (False, True),
    "go_backwards": (False, True),
    "use_bias": (True, False),
    "dropout": (0.0, 0.3),
    "recurrent_dropout": (0.0, 0.3),
    "zero_output_for_mask": (False, True),
    "mask": (False, True),
    "initial_state": (False, True),
}
# Six combinations, in which each pair of values of any two options occurs: the rows in which an
# option has its second value are 0 and two others, another two for each option.
ROWS = zip(OPTIONS.values(), itertools.combinations(range(1, 6), 2), strict=False)
COLUMNS = [[values[row in (0, *others)] for row in range(6)] for values, others in ROWS]
SOME = list(zip(*COLUMNS, strict=True))


def called(inputs, names, path):
    """`ops.gru` with the arguments of GRUInputs, as a function of those of `names`."""

    def call(given):
        arguments = vars(inputs) | given
        arguments.pop("bfloat16")
        return ops.gru(**arguments | {"initial_state": arguments.pop("h0")}, path=path)

    return call, {name: getattr(inputs, name) for name in names}


@pytest.mark.parametrize(
    ("path", "reset_after"),
    [pytest.param("kernel", True, marks=needs_kernels), ("keras", True), ("keras", False)],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_both_paths_are_the_reference(path, reset_after, reverse):
    rng = np.random.default_rng(2)
    settings = dict(reverse=reverse, dropout=reverse, reset_after=reset_after)
    inputs = make_inputs(rng, B, T, D, H, activation="softsign", **settings)
    expected, gradients = gru_forward(inputs), arriving(rng, inputs)
    wanted = gru_backward(inputs, expected, *gradients)
    call, given = called(inputs, wanted, path)

    def value(given):
        results = call(given)
        return sum(jnp.vdot(a, r) for a, r in zip(gradients, results, strict=True)), results

    actual, results = jax.jit(jax.grad(value, has_aux=True))(given)
    assert_agree(results, (expected.hs, expected.h_last))
    assert_agree([actual[name] for name in wanted], list(wanted.values()))


@needs_kernels
def test_both_directions_and_recompute():
    rng = np.random.default_rng(3)
    forward = make_inputs(rng, B, 40, D, H, mask=None)
    backward = replace(make_inputs(rng, B, 40, D, H, mask=None, reverse=True), x=forward.x)
    pair = []
    for inputs in (forward, backward):
        arguments = {n: v for n, v in vars(inputs).items() if n not in ("bfloat16", "h0")}
        pair.append(arguments | {"initial_state": inputs.h0})
    expected = [ops.gru(**arguments) for arguments in pair]
    for a, e in zip(ops.gru_both(*pair, return_sequences=True), expected, strict=True):
        assert_agree(a, e)
    assert_agree(ops.gru(**pair[1], recompute=True), expected[1])
    with pytest.raises(DataError, match="got others for bias, activation"):
        ops.gru_both(pair[0] | {"bias": None}, pair[1] | {"activation": "relu"}, True)


def check_drop_in(combination, **more):
    options = dict(zip(OPTIONS, combination, strict=True)) | more
    has_mask, has_state = options.pop("mask"), options.pop("initial_state")
    x, mask, state = data()
    theirs = keras.layers.GRU(H, return_state=True, seed=3, **options)
    ours = GRU(H, return_state=True, seed=3, **options)
    with_random_weights(theirs, ours)
    arguments = (x, mask if has_mask else None, state[:1] if has_state else None)
    for training in {False, bool(options["dropout"] or options["recurrent_dropout"])}:
        expected = value_and_gradients(theirs, *arguments, training)
        actual = value_and_gradients(ours, *arguments, training)
        assert_agree(actual[0], expected[0])
        assert_agree(actual[1], expected[1])


def test_drop_in():
    check_drop_in(SOME[0])


@pytest.mark.slow
@pytest.mark.parametrize("combination", SOME[1:])
def test_drop_in_other_combinations(combination):
    check_drop_in(combination)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        dict(reset_after=False),
        dict(implementation=1, use_cudnn=False),
        dict(activation="gelu"),
        dict(activation="relu", recurrent_activation="hard_sigmoid"),
    ],
    ids=lambda o: "-".join(o),
)
@pytest.mark.filterwarnings("ignore::longshort.PathWarning")
def test_further_arguments(options):
    check_drop_in((True, True, True, 0.3, 0.0, False, True, True), **options)


def test_what_the_kernels_cannot_take_warns_once(monkeypatch):
    monkeypatch.setattr(_paths, "_warned", set())
    x, _, _ = data()
    layer = GRU(H, reset_after=False)
    assert layer.kernel_path.name == "keras"
    with pytest.warns(PathWarning, match="this GRU runs on the keras.ops path.*two products"):
        layer(x)
    layer(x)  # warnings are errors: a second one would raise
    with pytest.raises(DataError, match="gru: path='kernel' cannot take this call"):
        ops.gru(x, *layer.get_weights(), reset_after=False, path="kernel")
    with pytest.raises(DataError, match=r"bias of shape \(2, 57\), got \(57,\)"):
        ops.gru(x, *layer.get_weights())


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"return_sequences": True, "dropout": 0.4, "recurrent_dropout": 0.3},
        {"return_state": True, "merge_mode": None},
        {"stateful": True, "use_bias": False},
    ],
    ids="-".join,
)
def test_bidirectional(options):
    options = dict(options)
    merge_mode = options.pop("merge_mode", "concat")
    x, mask, state = data()
    state = None if options.get("stateful") else state
    theirs, ours = (
        wrapper(layer(H, seed=3, **options), merge_mode=merge_mode)
        for wrapper, layer in (
            (keras.layers.Bidirectional, keras.layers.GRU),
            (Bidirectional, GRU),
        )
    )
    with_random_weights(theirs, ours)
    assert ours._fits_together() == (_paths.machine_path().name == "kernel")
    expected = value_and_gradients(theirs, x, mask, state, "dropout" in options)
    actual = value_and_gradients(ours, x, mask, state, "dropout" in options)
    assert_agree(actual[0], expected[0])
    assert_agree(actual[1], expected[1])


def sequential(layer):
    return keras.Sequential(
        [
            keras.Input((None, D)),
            layer(H, return_sequences=True),
            keras.layers.Bidirectional(layer(3)),
        ]
    )


def test_config_and_files_go_both_ways(tmp_path):
    options = dict(units=H, dropout=0.1, reset_after=False, go_backwards=True, name="a", seed=4)
    assert GRU(**options).get_config() == keras.layers.GRU(**options).get_config()
    x, _, _ = data()
    ours, theirs = sequential(GRU), sequential(keras.layers.GRU)
    expected = ours(x)
    theirs.set_weights(ours.get_weights())
    assert_agree([theirs(x)], [expected])
    ours.save(tmp_path / "ours.keras")
    loaded = keras.saving.load_model(tmp_path / "ours.keras")
    assert type(loaded.layers[0]) is GRU
    assert_agree([loaded(x)], [expected])
    longshort.to_keras(loaded).save(tmp_path / "plain.keras")
    plain = keras.saving.load_model(tmp_path / "plain.keras")
    assert type(plain.layers[0]) is keras.layers.GRU
    assert_agree([plain(x)], [expected])
    assert longshort.accelerate(plain) is plain
    assert type(plain.layers[0]) is GRU and type(plain.layers[1]) is Bidirectional
    assert type(plain.layers[1].forward_layer) is GRU
    assert_agree([plain(x)], [expected])


def test_states():
    x, _, _ = data()
    ours, whole = GRU(H, stateful=True), GRU(H)
    with_random_weights(ours, whole)
    ours(x[:, :3])
    assert_agree([ours(x[:, 3:])], [whole(x)])
    stack = StackedRNN(H, 2, cell=GRU, skip="residual", return_state=True)
    y, *states = stack(x)
    _, *before = stack(x[:, :-1])
    assert_agree([stack.step(x[:, -1], before)[0]], [y])
    assert [len(s) for s in states] == [1, 1]


def test_wrong_shapes_say_what_to_do():
    layer = GRU(H)
    with pytest.raises(DataError, match=r"GRU: .*features\), got \(32, 8\).*x\[:, None, :\]"):
        layer(np.zeros((32, 8), "f4"))
    with pytest.raises(DataError, match=r"GRU: expected a mask of shape \(batch, time\)"):
        layer(np.zeros((2, 3, 8), "f4"), mask=np.ones((2, 4), bool))
