"""The network of the forecaster: segments, what it is told of the steps ahead, its quantiles."""

import keras
import numpy as np
import pytest

from longshort.data._windows import WindowScale
from longshort.tasks import _members as members
from longshort.tasks._baselines import NLinear
from longshort.tasks._net_training import TrainPlan, predict, train
from longshort.tasks._quantiles import pinball_loss, quantiles_of, raw_of, rising
from longshort.tasks._segment_net import NetShape, build_net, segment_length


@pytest.mark.parametrize(
    ("input_size", "season", "expected"),
    [(336, 24, 24), (720, 24, 24), (24, 12, 1), (48, 12, 1), (96, 12, 12), (364, 52, 52)]
    + [(400, 1, 5), (64, 1, 1), (97, 24, 1), (120, 24, 15), (1, 1, 1), (4, 24, 1)],
)
def test_segment_length(input_size, season, expected):
    assert segment_length(input_size, season) == expected


def random_net(**changes):
    shape = NetShape(
        **({"input_size": 12, "h": 5, "segment": 3, "outputs": 3, "units": 4} | changes)
    )
    net = build_net(shape, [None] * shape.num_members, seed=1)
    rng = np.random.default_rng(0)
    net.set_weights([rng.normal(size=w.shape) * 0.5 for w in net.weights])
    sizes = [(12, shape.channels), (5, shape.future_channels), (shape.static,)]
    used = [size for size in sizes if all(size)]
    return net, [rng.normal(size=(6, *size)).astype("f4") for size in used]


@pytest.mark.parametrize(
    "changes",
    [{}, {"num_layers": 2}, {"num_members": 3}, {"segment": 1}, {"segment": 12, "channels": 2}]
    + [{"future_channels": 2}, {"static": 3}, {"future_channels": 1, "static": 2, "channels": 3}],
)
def test_shapes_and_batches(changes):
    net, inputs = random_net(**changes)
    raw = predict(net, inputs)
    assert raw.shape == (6, changes.get("num_members", 1), 5, 3)
    alone = np.concatenate([predict(net, [v[i : i + 1] for v in inputs]) for i in range(6)])
    np.testing.assert_allclose(alone, raw, atol=1e-6)


def test_what_is_known_ahead_moves_its_own_segment_only():
    net, (window, future) = random_net(future_channels=2)
    before = predict(net, [window, future])[:, 0]
    changed = future.copy()
    changed[:, 4, 1] += 1.0  # the second segment: steps 3 and 4
    after = predict(net, [window, changed])[:, 0]
    np.testing.assert_array_equal(after[:, :3], before[:, :3])
    assert (after[:, 3:] != before[:, 3:]).all()


def test_all_steps_of_the_window_and_the_series_move_the_forecast():
    net, (window, static) = random_net(static=2)
    before = predict(net, [window, static])
    for step in range(12):
        changed = window.copy()
        changed[:, step] += 1.0
        assert (predict(net, [changed, static]) != before).any()
    assert (predict(net, [window, static + 1]) != before).any()


def test_untrained_network_says_what_it_starts_from():
    start = np.array([[-2.0, -0.5, 0.0, 0.3, 1.0], [-3.0, -1.0, 0.5, 1.0, 4.0]])
    shape = NetShape(8, 2, 4, outputs=5, units=3, num_members=2)
    net = build_net(shape, [raw_of(start), None], seed=0)
    raw = predict(net, [np.random.default_rng(0).normal(size=(3, 8, 1))])
    np.testing.assert_allclose(rising(raw[:, 0]), np.broadcast_to(start, (3, 2, 5)), atol=1e-5)
    assert not raw[:, 1].any()
    assert quantiles_of((95, 80)) == quantiles_of((80, 95)) == [0.025, 0.1, 0.5, 0.9, 0.975]


def test_pinball_loss_by_hand():
    # One window, one member, two steps; quantiles 0, 1, 2 at raw (1, softplus^-1(1) twice).
    raw = np.broadcast_to(raw_of(np.array([0.0, 1.0, 2.0])), (1, 1, 2, 3)).astype("f4")
    loss = pinball_loss([0.1, 0.5, 0.9])
    # y = 3: (0.1 * 3 + 0.5 * 2 + 0.9 * 1) / 3 a step, of two steps.
    y = np.array([[[3.0, np.nan]]], "f4")
    np.testing.assert_allclose(loss(y, raw), [(0.3 + 1.0 + 0.9) / 3 / 2], rtol=1e-5)
    # y = -1: (0.9 * 1 + 0.5 * 2 + 0.1 * 3) / 3.
    np.testing.assert_allclose(loss(y * 0 - 1, raw), [(0.9 + 1.0 + 0.3) / 3 / 2], rtol=1e-5)


def test_members_set_out_from_the_map_and_from_the_last_value():
    x = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [3.0, 5.0, 7.0]])
    y = np.array([[4.0], [5.0], [9.0]])
    path, scale = NLinear(1e-9).fit([(x, y, np.ones(3))]), WindowScale.fit(x)
    base = members.bases(path, x, scale, 4)
    assert base.shape == (3, 4, 1) and not base[:, 1::2].any()
    np.testing.assert_allclose(base[:, 0], scale.apply(y), atol=1e-6)
    learned = members.targets(y, base, scale)
    np.testing.assert_allclose(learned[:, 2], 0, atol=1e-6)
    np.testing.assert_allclose(learned[:, 1], scale.apply(y))
    assert np.isnan(members.targets(y * np.nan, base, scale)).all()


def test_mixture_by_hand():
    # Members say 0 and 4 where 1 happens: a quarter of the second kind.
    forecasts = np.array([0.0, 4.0]).reshape(1, 2, 1, 1)
    assert members.best_share(forecasts, np.array([[1.0]]), [0.5]) == (0.0, 0.25)
    assert members.mix(forecasts, 0.25).tolist() == [[[1.0]]]
    four = np.array([0.0, 4.0, 2.0, 8.0]).reshape(1, 4, 1, 1)
    assert members.mix(four, 1.0).item() == 6.0 and members.mix(four, 0.0).item() == 1.0


def test_plan():
    few = TrainPlan.of(30, epochs=None, batch_size=None, patience=5, learning_rate=0.1, seed=0)
    assert (few.epochs, few.batches, few.batch_size) == (100, 1, 30)
    many = TrainPlan.of(10**6, epochs=None, batch_size=None, patience=5, learning_rate=0.1, seed=0)
    assert (many.epochs, many.batches, many.batch_size) == (12, 200, 256)
    rate = [float(few.course()(step)) for step in (0, 5, 52, 100)]
    assert rate[1] == pytest.approx(0.1) and rate[3] == pytest.approx(0, abs=1e-8)
    assert 0 < rate[0] < rate[2] < rate[1]


def test_best_epoch_is_kept():
    inputs = keras.Input((1,))
    net = keras.Model([inputs], keras.layers.Dense(1)(inputs))
    plan = TrainPlan(9, 1, 4, 3, 0.1, 0)
    marks = iter([5.0, 4.0, 2.0, 3.0, 3.0, 3.0, 3.0])
    kept = []

    def validate():
        kept.append(net.get_weights()[0].item())
        return next(marks), len(kept)

    x = np.ones((4, 1), "f4")
    losses, note = train(
        net, lambda y, f: (y - f)[:, 0] ** 2, plan, 4, lambda i: ([x], x), validate, None,
        keep_best=False,
    )  # fmt: skip
    assert losses == [5.0, 4.0, 2.0, 3.0, 3.0, 3.0] and note == 3
    assert net.get_weights()[0].item() == kept[2] != kept[-1]
