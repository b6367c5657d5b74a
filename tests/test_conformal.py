import numpy as np
import pytest
from scipy.stats import beta

from longshort.tasks._conformal import ConformalWidths


def test_by_hand():
    # Scores of f = 0: 1 .. 9. (9 + 1) * 50 % = 5, * 90 % = 9, * 72 % = 7.2, so the 8th.
    y = np.array([[-1.0], [2], [-3], [4], [-5], [6], [7], [8], [-9]])
    f = np.zeros((9, 1))
    fitted = ConformalWidths.fit(y, f, f, np.ones(9), [50, 72, 90])
    assert fitted.widths.tolist() == [[5.0], [8.0], [9.0]] and fitted.num_scores.tolist() == [9]


def test_quantile_forecasts_shrink_and_widen():
    # The interval 0..10 is too wide for the first step and too narrow for the second.
    y = np.array([[4.0, 12], [5, -1], [6, 14], [5, 13]])
    low, high = np.zeros((4, 2)), np.full((4, 2), 10.0)
    fitted = ConformalWidths.fit(y, low, high, np.ones(4), [80])
    assert fitted.widths.tolist() == [[-4.0, 4.0]]
    ends = fitted.apply([[0.0, 0.0]], [[10.0, 10.0]], [1.0])
    assert [end[0, :, 0].tolist() for end in ends] == [[4.0, -4.0], [6.0, 14.0]]


def test_scale_makes_series_comparable():
    rng = np.random.default_rng(0)
    y, f = rng.normal(size=(30, 2)), np.zeros((30, 2))
    scale = 10.0 ** rng.integers(-2, 5, 30)
    plain = ConformalWidths.fit(y, f, f, np.ones(30), [80])
    scaled = ConformalWidths.fit(y * scale[:, None], f, f, scale, [80])
    np.testing.assert_allclose(scaled.widths, plain.widths)


def test_unknown_values_are_left_out():
    rng = np.random.default_rng(0)
    y, f = rng.normal(size=(40, 3)), np.zeros((40, 3))
    y[5:9, 1] = np.nan
    scale = np.ones(40)
    scale[0] = np.nan
    fitted = ConformalWidths.fit(y, f, f, scale, [50, 80])
    assert fitted.num_scores.tolist() == [39, 35, 39]
    rows = [i for i in range(1, 40) if not 5 <= i < 9]
    alone = ConformalWidths.fit(y[rows], f[rows], f[rows], scale[rows], [50, 80])
    assert (fitted.widths[:, 1] == alone.widths[:, 1]).all()


@pytest.mark.parametrize("n", [50, 500])
def test_coverage_of_exchangeable_data(n):
    # Given N scores the coverage has the distribution Beta(k, N + 1 - k); over many repetitions
    # with many test values the mean is k / (N + 1) within five standard errors.
    rng = np.random.default_rng(n)
    levels, repetitions = [60, 80, 95], 400
    inside = np.zeros((repetitions, 3))
    for i in range(repetitions):
        data = rng.standard_t(3, size=(n + 200, 1))
        low, high = np.full((n, 1), -1.0), np.full((n, 1), 0.5)  # nobody's true quantiles
        fitted = ConformalWidths.fit(data[:n], low, high, np.ones(n), levels)
        a, b = fitted.apply(np.full((200, 1), -1.0), np.full((200, 1), 0.5), np.ones(200))
        new = data[n:, :, None]
        inside[i] = ((new >= a) & (new <= b)).mean(axis=(0, 1))
    for level, share in zip(levels, inside.T, strict=True):
        k = int(np.ceil((n + 1) * level / 100 - 1e-9))
        expected = k / (n + 1)
        assert expected >= level / 100
        var = beta.var(k, n + 1 - k) + expected * (1 - expected) / 200
        assert abs(share.mean() - expected) < 5 * np.sqrt(var / repetitions)


def test_larger_levels_contain_smaller_ones():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(30, 4))
    edges = np.sort(rng.normal(size=(30, 4, 6)), axis=-1)
    low, high = edges[..., [2, 1, 0]], edges[..., [3, 4, 5]]
    fitted = ConformalWidths.fit(y, low, high, np.ones(30), [50, 70, 90])
    middle = edges.mean(axis=-1)
    for centre in (None, middle):
        a, b = fitted.apply(low, high, np.ones(30), centre)
        assert (np.diff(a, axis=-1) <= 0).all() and (np.diff(b, axis=-1) >= 0).all()
        assert (a <= b).all()
        # Never narrower than the plain rule, so the coverage cannot fall.
        assert (a <= low - fitted.widths.T).all() and (b >= high + fitted.widths.T).all()
    assert ((a <= middle[..., None]) & (middle[..., None] <= b)).all()


def test_an_interval_that_vanishes_is_its_centre():
    fitted = ConformalWidths.fit([[5.0]] * 4, [[0.0]] * 4, [[10.0]] * 4, np.ones(4), [80])
    a, b = fitted.apply([[0.0]], [[4.0]], [1.0])  # moved inwards by 5 on both sides
    assert a.tolist() == b.tolist() == [[[2.0]]]
    a, b = fitted.apply([[0.0]], [[4.0]], [1.0], middle=[[3.0]])
    assert (a.item(), b.item()) == (2.0, 3.0)


def test_too_few_scores():
    y, f = np.array([[1.0], [3.0], [2.0]]), np.zeros((3, 1))
    with pytest.warns(UserWarning, match=r"3 .* levels 80, 95; .* 75 %\. Use at least 19"):
        fitted = ConformalWidths.fit(y, f, f, np.ones(3), [50, 80, 95])
    assert fitted.widths.ravel().tolist() == [2.0, 3.0, 3.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.full((4, 2), np.nan)}, "no y is known 1 steps ahead"),
        ({"y": np.ones(4)}, r"expected y \(N, H\)"),
        ({"scale": np.array([1.0, 1, 0, 1])}, "positive scales"),
        ({"lower": np.full((4, 2), np.nan)}, "not finite"),
        ({"lower": np.ones((4, 2, 3))}, r"lower as \(4, 2, 1\) or \(4, 2\), got \(4, 2, 3\)"),
        ({"level": [80, 50]}, r"got \[80, 50\]"),
        ({"level": [100]}, "between 0 and 100"),
        ({"level": []}, "between 0 and 100"),
    ],
)
def test_arguments_that_do_not_fit(change, message):
    plain = {"y": np.ones((4, 2)), "lower": np.ones((4, 2)), "upper": np.ones((4, 2))}
    with pytest.raises(ValueError, match=message):
        ConformalWidths.fit(**(plain | {"scale": np.ones(4), "level": [80]} | change))
    fitted = ConformalWidths.fit(**plain, scale=np.ones(4), level=[50])
    with pytest.raises(ValueError, match="upper as"):
        fitted.apply(np.ones((1, 2)), np.ones((1, 3)), [1.0])
