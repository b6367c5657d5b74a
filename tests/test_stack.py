"""`StackedRNN` against its layers called by hand; states, masks, modes, files."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from keras import ops, tree

from longshort import DataError
from longshort.layers import LSTM, Bidirectional, StackedRNN

B, T, D, H = 4, 7, 5, 6


def data(seed=0):
    rng = np.random.default_rng(seed)
    mask = rng.random((B, T)) < 0.6
    mask[0] = True
    mask[1] = np.arange(T) >= 3
    mask[2] = np.arange(T) < 4
    return rng.normal(size=(B, T, D)).astype("f4"), mask


def random_state(layer, batch=B, seed=1):
    rng = np.random.default_rng(seed)
    return tree.map_structure(
        lambda s: rng.normal(size=s.shape).astype("f4"), layer.get_initial_state(batch)
    )


def close(actual, expected, tolerance=2e-6):
    actual, expected = tree.flatten(actual), tree.flatten(expected)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance)


def by_hand(stack, x, state, mask):
    """The layers one after the other: the outputs of all steps, or the last; the states."""
    states = []
    for i, (layer, before) in enumerate(zip(stack.layers, state, strict=True)):
        below = x
        x, *after = layer(below, initial_state=before, mask=mask)
        states.append(after)
        if i and stack.skip == "residual":
            x = below + x
        elif i and stack.skip == "highway":
            gate = stack.gates[i - 1]
            t = ops.sigmoid(ops.matmul(below, gate.kernel) + gate.bias)
            x = t * x + (1 - t) * below
    return x, states


KINDS = [
    dict(),
    dict(skip="residual"),
    dict(skip="highway"),
    dict(bidirectional=True),
    dict(bidirectional=True, skip="highway"),
    dict(bidirectional=True, skip="residual"),
    dict(cell=keras.layers.GRU, skip="residual"),
]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda k: "-".join(map(str, k.values())) or "-")


@kinds
@pytest.mark.parametrize("masked", [False, True])
def test_is_its_layers_called_by_hand(kind, masked):
    x, mask = data()
    mask = mask if masked else None
    stack = StackedRNN(H, 3, return_sequences=True, return_state=True, **kind)
    state = random_state(stack)
    y, *after = stack(x, initial_state=state, mask=mask)
    expected, states = by_hand(stack, x, state, mask)
    assert y.shape == expected.shape
    close([y, after], [expected, states])


@kinds
@pytest.mark.parametrize("masked", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_last_output_is_that_of_the_last_real_step(kind, masked):
    x, mask = data()
    mask = mask if masked else np.ones((B, T), bool)
    whole = StackedRNN(H, 3, return_sequences=True, **kind)
    last = StackedRNN(H, 3, **kind)
    whole.build((B, T, D)), last.build((B, T, D))
    last.set_weights(whole.get_weights())
    ys, y = whole(x, mask=mask), last(x, mask=mask)
    for b in range(B):
        real = np.flatnonzero(mask[b])
        if kind.get("bidirectional"):
            expected = np.concatenate([ys[b, real[-1], :H], ys[b, real[0], H:]])
        else:
            expected = ys[b, real[-1]]
        np.testing.assert_allclose(y[b], expected, rtol=2e-6, atol=2e-6)


@kinds
def test_any_padding_same_answer(kind):
    x, mask = data()
    stack = StackedRNN(H, 2, return_state=True, **kind)
    together = stack(x, mask=mask)
    for b in range(B):
        alone = stack(x[b : b + 1, mask[b]])
        close(tree.map_structure(lambda s, b=b: s[b : b + 1], together), alone, 1e-5)


@pytest.mark.parametrize("skip", [None, "residual", "highway"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradients(skip, bidirectional):
    x, mask = data()
    stack = StackedRNN(H, 2, skip=skip, bidirectional=bidirectional)
    stack.build((B, T, D))
    state = random_state(stack)

    def value(weights, x, state, call):
        scope = zip(stack.trainable_variables, weights, strict=True)
        with keras.StatelessScope(state_mapping=[*scope]):
            return jnp.sum(jnp.sin(call(x, state)))

    def ours(x, state):
        return stack(x, initial_state=state, mask=mask)

    def hand(x, state):
        # The layers as they are return the last step only; the connection takes the same step.
        below = x
        y, *_ = stack.layers[0](below, initial_state=state[0], mask=mask)
        end, *_ = stack.layers[1](y, initial_state=state[1], mask=mask)
        if skip is None:
            return end
        if bidirectional:
            first = mask.argmax(1)
            final = T - 1 - mask[:, ::-1].argmax(1)
            rows = np.arange(B)
            below = jnp.concatenate([y[rows, final, :H], y[rows, first, H:]], -1)
            gates = [y[rows, final], y[rows, first]]
        else:
            below, gates = y[:, -1], [y[:, -1]]
        if skip == "residual":
            return below + end
        t = jnp.concatenate([stack.gates[0](g) for g in gates], -1)
        if bidirectional:
            t = jnp.concatenate([t[:, :H], t[:, 3 * H :]], -1)
        return t * end + (1 - t) * below

    weights = [v.value for v in stack.trainable_variables]
    gradients = [jax.grad(value, (0, 1, 2))(weights, x, state, call) for call in (ours, hand)]
    close(*gradients, 1e-5)
    assert all(np.abs(g).max() > 0 for g in gradients[0][0])


def test_split_sequence_with_carried_state_is_one_run():
    x, mask = data()
    stack = StackedRNN([3, 4], return_sequences=True)
    whole = stack(x, mask=mask)
    for cut in (1, 4):
        stack.reset_state(B)
        parts = [
            stack(x[:, a:b], mask=mask[:, a:b], stateful=True) for a, b in ((0, cut), (cut, T))
        ]
        close(np.concatenate(parts, 1), whole)
    assert np.array_equal(stack(x, mask=mask), whole)  # stateless calls neither read nor change it
    carried = stack.get_state()
    _, states = by_hand(stack, x, stack.get_initial_state(B), mask)
    close(carried, states)


def test_one_step_at_a_time():
    x, _ = data()
    for sequences in (False, True):
        stack = StackedRNN(H, 2, skip="highway", return_sequences=sequences)
        whole, state = stack(x), None
        for t in range(T):
            y, state = stack.step(x[:, t], state)
            assert y.shape == (B, H)
            if sequences:
                close(y, whole[:, t])
        close(y, whole[:, -1] if sequences else whole)


def test_states_of_any_batch_size():
    x, _ = data()
    stack = StackedRNN(H, 2)
    weights = None
    for batch in (4, 1, 3):
        part = x[:batch]
        expected = stack(part)
        weights = weights or stack.get_weights()
        stack.reset_state(batch)
        stack(part[:, :3], stateful=True)
        kept = tree.map_structure(np.array, stack.get_state())
        close(stack(part[:, 3:], stateful=True), expected)
        stack.set_state(kept)  # back in time, from arrays
        close(stack(part[:, 3:], stateful=True), expected)
        stack.reset_state()  # the same number of sequences
        close(stack(part, stateful=True), expected)
        assert len(stack.variables) - len(stack.weights) == 4 + 2  # and two seeds
    with pytest.raises(DataError, match=r"state is of 3 sequences, got 4\. reset_state\(4\)"):
        stack(x, stateful=True)
    assert all(map(np.array_equal, weights, stack.get_weights()))


def test_first_stateful_call_begins_at_the_initial_state():
    x, _ = data()
    stack = StackedRNN(H, 2, stateful=True)
    expected = stack(x, stateful=False)
    close(stack(x), expected)
    assert np.abs(stack(x) - expected).max() > 1e-3
    given = random_state(stack)
    one, other = stack(x, initial_state=given), stack(x, initial_state=given, stateful=False)
    assert np.array_equal(one, other)
    stack.reset_states()
    close(stack(x), expected)


def test_trained_stateless_and_run_stateful_in_compiled_code():
    x, _ = data()
    stack = StackedRNN(H, 2, return_sequences=True)
    out = keras.layers.Dense(1)
    inputs = keras.Input((None, D))
    model = keras.Model(inputs, out(stack(inputs)))
    model.compile(loss="mse", optimizer="adam")
    model.fit(x, np.ones((B, T, 1)), verbose=0)
    with pytest.raises(DataError, match=r"reset_state\(batch_size\) before"):
        stack(inputs, stateful=True)
    stack.reset_state(B)
    stream = keras.Model(inputs, out(stack(inputs, stateful=True)))
    expected = model.predict(x, verbose=0)
    for batch in (B, 1):
        stack.reset_state(batch)
        parts = [stream.predict(x[:batch, i : i + 1], verbose=0) for i in range(T)]
        close(np.concatenate(parts, 1), expected[:batch], 1e-5)
    # predict goes through its batches in turn; a state goes from one to the next.
    stack.reset_state(1)
    both = stream.predict(x[:2], batch_size=1, verbose=0)
    close(both.reshape(1, 2 * T, 1), model.predict(x[:2].reshape(1, 2 * T, D), verbose=0), 1e-5)


def test_fit_carries_the_state():
    x, _ = data()
    stack = StackedRNN(H, 2, stateful=True)
    model = keras.Sequential([keras.Input(batch_shape=(2, T, D)), stack])
    model.compile(loss="mse", optimizer=keras.optimizers.SGD(0.0))
    model.fit(x, np.ones((B, H)), batch_size=2, shuffle=False, verbose=0)
    plain = StackedRNN(H, 2, return_state=True)
    plain.build((2, T, D))
    plain.set_weights(stack.get_weights())
    _, *state = plain(np.concatenate([x[:2], x[2:]], 1))
    close(stack.get_state(), state, 1e-5)


def test_masks_reach_every_layer_and_the_output():
    tokens = np.array([[1, 2, 3, 0, 0], [4, 0, 0, 0, 0], [0, 5, 6, 0, 7]])
    embedding = keras.layers.Embedding(10, D, mask_zero=True)
    stack = StackedRNN(H, 2, return_sequences=True, return_state=True)
    y, *state = stack(embedding(tokens))
    close([y, state], stack_with_mask(stack, embedding(tokens), tokens != 0))
    assert np.array_equal(y._keras_mask, tokens != 0)
    assert all(getattr(s, "_keras_mask", None) is None for s in tree.flatten(state))
    # With an initial state Keras passes the mask by another name.
    given = random_state(stack, 3)
    actual = stack(embedding(tokens), initial_state=given)
    close(actual, stack(embedding(tokens), initial_state=given, mask=tokens != 0))
    last = StackedRNN(H, 2)
    assert getattr(last(embedding(tokens)), "_keras_mask", None) is None
    assert last.compute_mask(None, tokens != 0) is None


def stack_with_mask(stack, x, mask):
    y, states = by_hand(stack, x, stack.get_initial_state(len(x)), mask)
    return [y, states]


@pytest.mark.parametrize("kind", ["dropout", "locked_dropout"])
def test_dropout_between_layers(kind):
    x, _ = data()
    x = np.repeat(x[:, :1], 50, 1)
    ones = dict(kernel_initializer="zeros", bias_initializer="ones", unit_forget_bias=False)
    stack = StackedRNN(40, 2, return_sequences=True, seed=1, **{kind: 0.25}, **ones)
    stack(x)
    seen = []
    layer = stack.layers[1]
    original = layer.call
    layer.call = lambda s, **kwargs: seen.append(s) or original(s, **kwargs)
    y = stack(x, training=True)
    below = stack.layers[0](x)[0]
    factors = np.asarray(seen[0] / below)
    kept = factors > 0
    np.testing.assert_allclose(factors[kept], 1 / 0.75, rtol=1e-5)
    assert abs(kept.mean() - 0.75) < 0.1
    assert (kept == kept[:, :1]).all() == (kind == "locked_dropout")
    again = StackedRNN.from_config(stack.get_config())
    again.build(x.shape)
    again.set_weights(stack.get_weights())
    first = StackedRNN.from_config(stack.get_config())
    first.build(x.shape)
    first.set_weights(stack.get_weights())
    assert np.array_equal(again(x, training=True), first(x, training=True))
    assert np.array_equal(stack(x), stack(x))
    assert y.shape == (B, 50, 40)


def test_seeds_and_arguments_reach_the_layers():
    stack = StackedRNN(H, 2, seed=7, recurrent_dropout=0.3, use_bias=False, cell=keras.layers.GRU)
    assert [layer.cell.seed for layer in stack.layers] == [8, 9]
    assert all(layer.recurrent_dropout == 0.3 and not layer.use_bias for layer in stack.layers)
    x, _ = data()
    assert not np.array_equal(stack(x, training=True), stack(x))
    narrow = StackedRNN([2, 3, 4], dtype="mixed_bfloat16", name="deep")
    assert narrow(x).dtype == "bfloat16" and narrow.name == "deep"
    assert [layer.compute_dtype for layer in narrow.layers] == ["bfloat16"] * 3
    assert narrow.layers[2].cell.kernel.shape == (3, 16)


def test_a_function_makes_the_layers():
    def cell(units, **kwargs):
        return LSTM(units, kernel_initializer=keras.initializers.GlorotUniform(units), **kwargs)

    stack = StackedRNN([3, 4], cell=cell)
    x, _ = data()
    again = StackedRNN.from_config(stack.get_config())
    again.build(x.shape)
    expected = stack(x)
    again.set_weights(stack.get_weights())
    assert np.array_equal(again(x), expected)
    assert [one.cell.kernel_initializer.seed for one in again.layers] == [3, 4]


@kinds
def test_files_and_symbolic_calls(kind, tmp_path):
    x, mask = data()
    inputs, masks = keras.Input((None, D)), keras.Input((None,), dtype="bool")
    stack = StackedRNN(H, 2, return_sequences=True, return_state=True, seed=3, dropout=0.1, **kind)
    outputs = stack(inputs, mask=masks)
    model = keras.Model([inputs, masks], outputs)
    results = model([x, mask])
    symbolic = [tuple(o.shape)[1:] for o in tree.flatten(outputs)]
    assert [tuple(r.shape)[1:] for r in tree.flatten(results)][1:] == symbolic[1:]
    assert symbolic[0] == (None, results[0].shape[-1])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    again = loaded([x, mask])
    for a, b in zip(tree.flatten(results), tree.flatten(again), strict=True):
        assert np.array_equal(a, b)
    layer = next(one for one in loaded.layers if isinstance(one, StackedRNN))
    assert layer.get_config() == stack.get_config()
    assert [type(one) for one in layer.layers] == [type(one) for one in stack.layers]


def test_stateful_files(tmp_path):
    x, _ = data()
    model = keras.Sequential([keras.Input(batch_shape=(B, T, D)), StackedRNN(H, 2, stateful=True)])
    expected = model.predict(x, verbose=0)
    assert np.abs(model.predict(x, verbose=0) - expected).max() > 1e-3
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")  # begins anew
    assert np.array_equal(loaded.predict(x, verbose=0), expected)
    # With the batch size from reset_state, and another batch size later.
    stack = StackedRNN(H, 2)
    stack.reset_state(B)
    inputs = keras.Input((None, D))
    model = keras.Model(inputs, stack(inputs, stateful=True))
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(loaded.predict(x, verbose=0), expected)
    loaded.layers[1].reset_state(1)
    assert np.array_equal(loaded.predict(x[:1], verbose=0), expected[:1])


def test_a_subclassed_model_carries_its_state():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.stack = StackedRNN(H, 2, stateful=True)

        def call(self, x):
            return self.stack(x)

    x, _ = data()
    model, whole = Own(), StackedRNN(H, 2)
    model.predict(x[:, :3], verbose=0)
    whole.build(x.shape)
    whole.set_weights(model.stack.get_weights())
    close(model.predict(x[:, 3:], verbose=0), whole(x), 1e-5)


def test_states_as_inputs_of_a_model():
    x, _ = data()
    encoder = StackedRNN(H, 2, return_state=True)
    decoder = StackedRNN(H, 2, return_sequences=True)
    source, target = keras.Input((None, D)), keras.Input((None, D))
    _, *state = encoder(source)
    model = keras.Model([source, target], decoder(target, initial_state=state))
    _, *state = encoder(x)
    close(model([x, x[:, :2]]), decoder(x[:, :2], initial_state=state))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(units=0), r"units as a positive integer or a list of these, got 0"),
        (dict(units=[3, "a"]), r"got \[3, 'a'\]"),
        (dict(units=[]), r"num_layers as 0, one for each of units, got 0"),
        (dict(units=3, num_layers=0), "num_layers as a positive integer, got 0"),
        (dict(units=3, num_layers=2.0), r"num_layers as a positive integer, got 2\.0"),
        (dict(units=[3, 4], num_layers=3), "num_layers as 2, one for each of units, got 3"),
        (dict(units=3, skip="dense"), "skip as one of .*'highway'.*, got 'dense'"),
        (dict(units=[3, 4], skip="residual"), r"layers of one width, got \[3, 4\]"),
        (dict(units=3, dropout=1.0), r"dropout as a rate in \[0, 1\), got 1.0"),
        (dict(units=3, dropout=-1, locked_dropout=2), "got -1; locked_dropout as a rate"),
        (dict(units=3, go_backwards=True), "flip the inputs"),
        (dict(units=3, bidirectional=True, stateful=True), "cannot be stateful"),
        (dict(units=3, cell=lambda units, **_: keras.layers.Dense(units)), "recurrent.*got Dense"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(DataError, match=message):
        StackedRNN(**arguments)


def test_bad_inputs_masks_and_states():
    x, mask = data()
    stack = StackedRNN(H, 2)
    with pytest.raises(DataError, match=r"StackedRNN\.step: call or build"):
        stack.step(x[:, 0])
    with pytest.raises(DataError, match=r"features\), got \(4, 5\)\. Add a time axis"):
        stack(x[:, 0])
    stack(x)
    with pytest.raises(DataError, match="The layer was built for 5 features"):
        stack(x[..., :3])
    with pytest.raises(DataError, match=r"got an array of shape \(4, 7, 5\)"):
        stack.step(x)
    with pytest.raises(DataError, match=r"mask of shape \(batch, time\) = \(4, 7\), got \(4, 6\)"):
        stack(x, mask=mask[:, 1:])
    with pytest.raises(DataError, match="expected a boolean mask, got float32"):
        stack(x, mask=mask.astype("f4"))
    with pytest.raises(DataError, match="no state is carried yet"):
        stack.get_state()
    with pytest.raises(DataError, match="a list of 2, got 4"):
        stack(x, initial_state=stack.get_initial_state(B) * 2)
    with pytest.raises(DataError, match=r"a list of 2 at \[1\], got 1"):
        stack.set_state([[x, x], [x]])
    with pytest.raises(DataError, match=r"tensor 0 of shape \(4, 6\), got \(3, 6\)"):
        stack(x, initial_state=stack.get_initial_state(3))
    with pytest.raises(DataError, match=r"one tensor at \[0\]\[1\], got NoneType"):
        stack.set_state([[x, None], [x, x]])


def test_bidirectional_layers_are_ours():
    stack = StackedRNN(H, 2, bidirectional=True)
    assert all(type(layer) is Bidirectional for layer in stack.layers)
    x, _ = data()
    assert stack(x).shape == (B, 2 * H)
    assert (
        all(layer._fits_together() for layer in stack.layers)
        or stack.layers[0].kernel_path.name == "keras"
    )


def test_as_the_readme_shows_it():
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, re.S)
    rng = np.random.default_rng(0)
    names = {"sequences": rng.normal(size=(8, 6, 3)), "x": rng.normal(size=(1, 3))}
    names["part"] = names["sequences"][:, :2]
    exec(next(b for b in blocks if "StackedRNN" in b), names)
    assert names["y"].shape == (1, 64)
