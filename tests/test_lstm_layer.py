"""`longshort.layers.LSTM` against `keras.layers.LSTM`: results, gradients, config, files."""

import itertools

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import longshort
from longshort._errors import DataError, PathWarning
from longshort.layers import GRU, LSTM, SLSTM, Bidirectional, Conv1D
from longshort.ops import _paths

B, T, D, H = 4, 7, 5, 19
needs_kernels = pytest.mark.skipif(
    _paths.machine_path().name != "kernel", reason="installed without a compiler"
)

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
ALL = list(itertools.product(*OPTIONS.values()))


def few_with_all_pairs():
    """Combinations in which each pair of values of any two options occurs, the richest first."""
    pairs = {c: set(itertools.combinations(enumerate(c), 2)) for c in ALL}
    missing, few = set().union(*pairs.values()), []
    while missing:
        few.append(max(ALL, key=lambda c: len(pairs[c] & missing)))
        missing -= pairs[few[-1]]
    return few


SOME = few_with_all_pairs()


def data(seed=0):
    rng = np.random.default_rng(seed)
    mask = rng.random((B, T)) < 0.6
    mask[0] = False
    state = [rng.normal(size=(B, H)).astype("f4") for _ in range(2)]
    return rng.normal(size=(B, T, D)).astype("f4"), mask, state


def with_random_weights(*layers):
    rng = np.random.default_rng(1)
    for layer in layers:
        layer.build((B, T, D))
    weights = [rng.normal(size=w.shape).astype("f4") * 0.4 for w in layers[0].get_weights()]
    for layer in layers:
        layer.set_weights(weights)


def value_and_gradients(layer, x, mask, state, training):
    """Outputs, and gradients of all weights, the input and the initial states."""
    stateless = [v.value for v in layer.non_trainable_variables]

    def value(weights, x, state):
        outputs, _ = layer.stateless_call(
            weights, stateless, x, initial_state=state, mask=mask, training=training
        )
        leaves = jax.tree.leaves(outputs)
        factors = [jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape) for leaf in leaves]
        return sum(jnp.sum(a * b) for a, b in zip(leaves, factors, strict=True)), leaves

    weights = [v.value for v in layer.trainable_variables]
    (_, outputs), gradients = jax.value_and_grad(value, (0, 1, 2), has_aux=True)(weights, x, state)
    return outputs, jax.tree.leaves(gradients)


def assert_agree(actual, expected):
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape
        assert float(jnp.abs(a - e).max()) <= 1e-5 * max(1.0, float(jnp.abs(e).max()))


def check_drop_in(combination):
    options = dict(zip(OPTIONS, combination, strict=True))
    has_mask, has_state = options.pop("mask"), options.pop("initial_state")
    x, mask, state = data()
    theirs = keras.layers.LSTM(H, return_state=True, seed=3, **options)
    ours = LSTM(H, return_state=True, seed=3, **options)
    with_random_weights(theirs, ours)
    assert ours.kernel_path.name == _paths.machine_path().name
    arguments = (x, mask if has_mask else None, state if has_state else None)
    for training in {False, bool(options["dropout"] or options["recurrent_dropout"])}:
        expected = value_and_gradients(theirs, *arguments, training)
        actual = value_and_gradients(ours, *arguments, training)
        assert_agree(actual[0], expected[0])
        assert_agree(actual[1], expected[1])


@pytest.mark.parametrize("combination", SOME, ids=lambda c: "".join("01"[bool(v)] for v in c))
def test_drop_in(combination):
    check_drop_in(combination)


@pytest.mark.slow
@pytest.mark.parametrize("combination", [c for c in ALL if c not in SOME])
def test_drop_in_all_other_combinations(combination):
    check_drop_in(combination)


def test_some_combinations_cover_every_pair_of_options():
    for i, j in itertools.combinations(range(len(OPTIONS)), 2):
        assert len({(c[i], c[j]) for c in SOME}) == 4


@pytest.mark.parametrize(
    "options",
    [
        dict(unroll=True),
        # Keras' own layer fails on implementation=1 with dropout unless cuDNN is off.
        dict(implementation=1, dropout=0.4, use_cudnn=False),
        dict(unit_forget_bias=False, bias_initializer="ones"),
        dict(kernel_initializer="zeros", recurrent_initializer="ones"),
        dict(use_cudnn=False),
    ],
)
def test_further_arguments(options):
    x, _, state = data()
    theirs, ours = keras.layers.LSTM(H, seed=3, **options), LSTM(H, seed=3, **options)
    with_random_weights(theirs, ours)
    for training in (False, True):
        expected = value_and_gradients(theirs, x, None, state, training)
        assert_agree(value_and_gradients(ours, x, None, state, training)[0], expected[0])


def test_initial_weights_are_keras():
    options = dict(
        kernel_initializer=keras.initializers.GlorotUniform(1),
        recurrent_initializer=keras.initializers.Orthogonal(seed=2),
    )
    theirs, ours = keras.layers.LSTM(H, **options), LSTM(H, **options)
    theirs.build((B, T, D))
    ours.build((B, T, D))
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        assert a.name == b.name and np.array_equal(a, b)


@pytest.mark.parametrize(
    "options",
    [dict(activation="gelu"), dict(recurrent_activation="tanh")],
)
def test_what_the_kernels_cannot_take_is_right_and_warns_once(options, monkeypatch):
    monkeypatch.setattr(_paths, "_warned", set())
    x, mask, state = data()
    theirs = keras.layers.LSTM(H, return_sequences=True, **options)
    ours = LSTM(H, return_sequences=True, **options)
    with_random_weights(theirs, ours)
    assert ours.kernel_path.name == "keras"
    with pytest.warns(PathWarning):
        actual = ours(x, mask=mask, initial_state=state)
    assert_agree([actual], [theirs(x, mask=mask, initial_state=state)])


def test_mixed_bfloat16():
    x, mask, _ = data()
    theirs = keras.layers.LSTM(H, dtype="mixed_bfloat16")
    ours = LSTM(H, dtype="mixed_bfloat16")
    with_random_weights(theirs, ours)
    actual, expected = ours(x, mask=mask), theirs(x, mask=mask)
    assert actual.dtype == expected.dtype == "bfloat16"
    assert np.abs(actual.astype("f4") - expected.astype("f4")).max() < 0.03
    assert ours.cell.kernel.dtype == "float32"


@pytest.mark.parametrize("kind", [LSTM, GRU, SLSTM, lambda n, **k: Conv1D(n, 3, **k)])
def test_a_policy_for_each_path_of_a_model(kind):
    policies = keras.dtype_policies.DTypePolicyMap(default_policy="float32")
    policies["net/own"] = "mixed_bfloat16"
    layer = kind(3, name="own", dtype=policies)
    below = keras.layers.Dense(2, dtype=policies)
    net = keras.Sequential([keras.layers.Input((7, 2)), below, layer], name="net")
    assert layer.path == "net/own"
    assert (below.compute_dtype, layer.compute_dtype) == ("float32", "bfloat16")
    assert layer.kernel_path.name == _paths.machine_path().name
    assert net(np.ones((2, 7, 2), np.float32)).dtype == "bfloat16"


def test_regularizers_and_constraints():
    model = keras.Sequential(
        [
            keras.Input((T, D)),
            LSTM(
                H,
                kernel_regularizer="l2",
                recurrent_regularizer="l1",
                bias_regularizer="l2",
                activity_regularizer="l2",
                kernel_constraint="non_neg",
                recurrent_constraint=keras.constraints.MaxNorm(0.5),
            ),
        ]
    )
    model.compile(loss="mse", optimizer="sgd")
    x, _, _ = data()
    model.fit(x, np.ones((B, H)), verbose=0)
    kernel, recurrent, _ = model.get_weights()
    assert kernel.min() >= 0
    assert np.linalg.norm(recurrent, axis=0).max() <= 0.5 + 1e-6
    assert len(model.losses) == 3
    history = model.fit(x, np.ones((B, H)), verbose=0).history
    without_activity = float(np.mean((model.predict(x, verbose=0) - 1) ** 2)) + sum(model.losses)
    assert history["loss"][0] > without_activity


def test_stateful():
    x, _, _ = data()
    ours, theirs = LSTM(H, stateful=True), keras.layers.LSTM(H, stateful=True)
    whole = LSTM(H)
    with_random_weights(ours, theirs, whole)
    for part in (x[:, :3], x[:, 3:]):
        actual, expected = ours(part), theirs(part)
        assert_agree([actual], [expected])
    assert_agree([actual], [whole(x)])
    ours.reset_state()
    assert_agree([ours(x)], [whole(x)])


# Around our layers Keras' own wrapper runs one direction after the other, as any other model.
@pytest.mark.parametrize(
    "wrapper",
    [Bidirectional, pytest.param(keras.layers.Bidirectional, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(
    "options",
    [
        {"return_sequences": True},
        {"return_sequences": True, "merge_mode": "sum", "dropout": 0.4, "recurrent_dropout": 0.3},
        {"return_state": True, "merge_mode": None, "dropout": 0.3, "implementation": 1},
        {"return_sequences": True, "return_state": True, "merge_mode": None},
        pytest.param(
            {"stateful": True, "use_bias": False, "merge_mode": "ave"}, marks=pytest.mark.slow
        ),
    ],
    ids=lambda options: "-".join(options),
)
def test_bidirectional(wrapper, options):
    options = dict(options)
    merge_mode = options.pop("merge_mode", "concat")
    x, mask, state = data()
    state = None if options.get("stateful") else [*state, *state[::-1]]
    theirs = keras.layers.Bidirectional(
        keras.layers.LSTM(H, seed=3, **options), merge_mode=merge_mode
    )
    ours = wrapper(LSTM(H, seed=3, **options), merge_mode=merge_mode)
    with_random_weights(theirs, ours)
    if wrapper is Bidirectional:
        assert ours._fits_together() == (_paths.machine_path().name == "kernel")
    for training in {False, "dropout" in options}:
        for given in (None, mask):
            expected = value_and_gradients(theirs, x, given, state, training)
            actual = value_and_gradients(ours, x, given, state, training)
            assert_agree(actual[0], expected[0])
            assert_agree(actual[1], expected[1])


def test_bidirectional_masks_as_its_layers_say():
    x, mask, _ = data()
    for sequences, zeros in ((False, True), (True, False)):
        theirs = keras.layers.Bidirectional(keras.layers.LSTM(H, return_sequences=sequences))
        ours = Bidirectional(LSTM(H, return_sequences=sequences))
        with_random_weights(theirs, ours)
        for layer in (theirs, ours):
            for one in (layer.forward_layer, layer.backward_layer):
                one.zero_output_for_mask = zeros
        assert_agree([ours(x, mask=[mask])], [theirs(x, mask=mask)])


def test_bidirectional_around_other_layers_is_keras():
    x, mask, _ = data()
    pairs = (
        (keras.layers.GRU(3), None),
        (LSTM(3), LSTM(4, go_backwards=True)),
        (LSTM(3), keras.layers.LSTM(3, go_backwards=True)),
    )
    for forward, backward in pairs:
        layers = [
            wrapper(forward, backward_layer=backward)
            for wrapper in (Bidirectional, keras.layers.Bidirectional)
        ]
        assert not layers[0]._fits_together()
        with_random_weights(*layers)
        assert_agree([layers[0](x, mask=mask)], [layers[1](x, mask=mask)])


@needs_kernels
def test_recompute():
    x, _, state = data()
    long = np.tile(x, (1, 30 // T + 1, 1))  # more steps than one chunk
    layers = [LSTM(H, return_state=True, seed=3, recompute=r, dropout=0.3) for r in (False, True)]
    with_random_weights(*layers)
    expected, actual = (value_and_gradients(layer, long, None, state, True) for layer in layers)
    assert_agree(actual[0], expected[0])
    assert_agree(actual[1], expected[1])
    assert "recompute" not in layers[0].get_config()
    assert LSTM.from_config(layers[1].get_config()).recompute
    with pytest.raises(DataError, match="recompute=True works on the kernel path only"):
        longshort.ops.lstm(x, *layers[0].get_weights(), path="keras", recompute=True)


def test_mask_travels_through_stacked_layers():
    def build(layer):
        return keras.Sequential(
            [
                keras.Input((T,)),
                keras.layers.Embedding(10, D, mask_zero=True),
                layer(H, return_sequences=True),
                keras.layers.Bidirectional(layer(H, return_sequences=True)),
                layer(H),
            ]
        )

    ours, theirs = build(LSTM), build(keras.layers.LSTM)
    ours.set_weights(theirs.get_weights())
    tokens = np.random.default_rng(0).integers(1, 10, (B, T))
    tokens[0] = 0
    tokens[1, :3] = 0
    tokens[2, 4:] = 0
    assert_agree([ours(tokens)], [theirs(tokens)])
    changed = tokens.copy()
    alone = ours(tokens[2:3, :4])
    assert_agree([ours(changed)[2:3]], [alone])


def test_config_is_keras():
    options = dict(
        units=H, return_sequences=True, dropout=0.1, recurrent_dropout=0.2, go_backwards=True,
        kernel_regularizer="l2", name="lstm", seed=4,
    )  # fmt: skip
    ours, theirs = LSTM(**options), keras.layers.LSTM(**options)
    assert ours.get_config() == theirs.get_config()
    assert LSTM.from_config(theirs.get_config()).get_config() == theirs.get_config()


def sequential(layer):
    return keras.Sequential(
        [
            keras.Input((None, D)),
            layer(H, return_sequences=True),
            keras.layers.Bidirectional(layer(3)),
        ]
    )


def test_files_go_both_ways(tmp_path):
    x, _, _ = data()
    ours, theirs = sequential(LSTM), sequential(keras.layers.LSTM)
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    assert_agree([keras.saving.load_model(tmp_path / "ours.keras")(x)], [ours(x)])
    assert isinstance(keras.saving.load_model(tmp_path / "ours.keras").layers[0], LSTM)
    # Ours as Keras' class: the whole model, or its weights.
    expected = ours(x)
    longshort.to_keras(ours).save(tmp_path / "plain.keras")
    plain = keras.saving.load_model(tmp_path / "plain.keras")
    assert type(plain.layers[0]) is keras.layers.LSTM
    assert_agree([plain(x)], [expected])
    longshort.accelerate(ours).save_weights(tmp_path / "ours.weights.h5")
    theirs.load_weights(tmp_path / "ours.weights.h5")
    assert_agree([theirs(x)], [ours(x)])
    # Keras' as ours.
    loaded = longshort.accelerate(keras.saving.load_model(tmp_path / "theirs.keras"))
    assert isinstance(loaded.layers[0], LSTM)
    assert type(loaded.layers[1]) is Bidirectional
    loaded.save(tmp_path / "both.keras")
    again = keras.saving.load_model(tmp_path / "both.keras")
    assert type(again.layers[1]) is Bidirectional
    assert_agree([again(x)], [loaded(x)])


def test_accelerate_keeps_weights_optimizer_and_results():
    x, _, _ = data()
    inner = sequential(keras.layers.LSTM)
    outer = keras.Sequential([keras.Input((T, D)), inner, keras.layers.Dense(1)])
    outer.compile(loss="mse", optimizer="adam")
    outer.fit(x, np.ones((B, 1)), verbose=0)
    before, steps = outer.predict(x, verbose=0), int(outer.optimizer.iterations)
    assert longshort.accelerate(outer) is outer
    assert isinstance(inner.layers[0], LSTM)
    assert isinstance(inner.layers[1].forward_layer, LSTM)
    assert isinstance(inner.layers[1].backward_layer, LSTM)
    assert_agree([outer.predict(x, verbose=0)], [before])
    outer.fit(x, np.ones((B, 1)), verbose=0)
    assert int(outer.optimizer.iterations) == steps + 1
    after = outer.predict(x, verbose=0)
    longshort.to_keras(outer)
    assert type(inner.layers[0]) is keras.layers.LSTM
    assert_agree([outer.predict(x, verbose=0)], [after])


def test_accelerate_reaches_into_a_subclassed_model():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.body = keras.layers.LSTM(H)

        def call(self, x):
            return self.body(x)

    model = Own()
    x, _, _ = data()
    before = model(x)
    assert isinstance(longshort.accelerate(model).body, LSTM)
    assert_agree([model(x)], [before])


def test_wrong_shapes_say_what_to_do():
    layer = LSTM(H)
    with pytest.raises(DataError, match=r"features\), got \(32, 8\).*x\[:, None, :\]"):
        layer(np.zeros((32, 8), "f4"))
    layer(np.zeros((2, 3, 8), "f4"))
    with pytest.raises(DataError, match=r"\(batch, time, 8\), got \(32, 8\)\. Add a time axis"):
        layer(np.zeros((32, 8), "f4"))
    with pytest.raises(DataError, match=r"8\), got \(2, 3, 9\)\. The layer was built"):
        layer(np.zeros((2, 3, 9), "f4"))
    with pytest.raises(DataError, match=r"a mask of shape \(batch, time\) = \(2, 3\), got"):
        layer(np.zeros((2, 3, 8), "f4"), mask=np.ones((2, 4), bool))


def test_wrong_states_and_models_are_refused():
    x, _, _ = data()
    with pytest.raises(DataError, match=r"h0 of shape \(4, 19\), got \(1, 19\)"):
        LSTM(H)(x, initial_state=[np.zeros((1, H), "f4")] * 2)
    with pytest.raises(DataError, match="expected a Keras model, got str"):
        longshort.accelerate("model.keras")


def test_integer_inputs_as_keras_takes_them():
    x = np.random.default_rng(0).integers(0, 5, (B, T, D)).astype("int32")
    ours, theirs = LSTM(H), keras.layers.LSTM(H)
    with_random_weights(ours, theirs)
    assert_agree([ours(x)], [theirs(x)])


def test_same_seed_twice_is_bitwise_the_same():
    x, mask, _ = data()
    results = []
    for _ in range(2):
        model = keras.Sequential(
            [
                keras.Input((T, D)),
                LSTM(
                    H,
                    recurrent_dropout=0.2,
                    seed=5,
                    kernel_initializer=keras.initializers.GlorotUniform(1),
                    recurrent_initializer=keras.initializers.Orthogonal(seed=2),
                ),
            ]
        )
        model.compile(loss="mse", optimizer="adam")
        model.fit(x, np.ones((B, H)), epochs=3, shuffle=False, verbose=0)
        results.append(model.get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


def test_cell_without_options():
    cell = keras.layers.RNN(longshort.layers.LSTMCell(H), return_sequences=True)
    layer = LSTM(H, return_sequences=True)
    with_random_weights(cell, layer)
    x, mask, _ = data()
    assert_agree([cell(x, mask=mask)], [layer(x, mask=mask)])
