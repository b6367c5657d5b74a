import jax
import numpy as np
import pytest
from keras import ops
from scipy import stats
from scipy.special import gammaln

from longshort.tasks._distributions import Distribution, NegativeBinomial, Normal, StudentT
from longshort.tasks._log_gamma import log_gamma_difference

ALL = [Normal(), StudentT(), NegativeBinomial()]


def frozen(distribution, params):
    """SciPy's distribution with these parameters."""
    first, second, *rest = (np.asarray(value, np.float64) for value in params)
    if isinstance(distribution, Normal):
        return stats.norm(first, second)
    if isinstance(distribution, StudentT):
        return stats.t(rest[0], first, second)
    return stats.nbinom(1 / second, 1 / (1 + second * first))


def draw(distribution, n=300, seed=0):
    """Random raw numbers, their parameters, and a y that they allow."""
    raw = np.random.default_rng(seed).normal(0, 3, (n, distribution.num_params)).astype("float32")
    params = distribution.split(raw)
    y = frozen(distribution, params).rvs(random_state=np.random.default_rng(seed))
    return raw, params, y.astype("float32")


def kind(distribution):
    return type(distribution).__name__


@pytest.mark.parametrize("x", [1e-3, 0.1, 1.0, 7.5, 300.0, 1e6])
def test_log_gamma_difference(x):
    d = np.array([0.0, 0.5, 1.0, 3.0, 20.0, 500.0], "float32")
    x = np.float32(x)
    expected = gammaln(np.float64(x) + d) - gammaln(np.float64(x))
    terms = 1 + d * np.log(x + 8 + d) + np.abs(expected)
    assert (np.abs(log_gamma_difference(x, d) - expected) < 4e-7 * terms).all()


@pytest.mark.parametrize("distribution", ALL, ids=kind)
def test_log_density_is_that_of_scipy(distribution):
    _, params, y = draw(distribution)
    known = frozen(distribution, params)
    expected = (known.logpmf if isinstance(distribution, NegativeBinomial) else known.logpdf)(y)
    found = np.asarray(distribution.log_density(params, y))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    loss = distribution.negative_log_likelihood(params, y)
    assert float(loss) == pytest.approx(-expected.mean(), rel=1e-5)


def test_heavy_counts_and_nearly_poisson():
    mean, dispersion = np.array([50.0, 3000.0, 20.0, 1e-6]), np.array([2.0, 0.1, 1e-4, 1e-4])
    y = np.array([900.0, 2500.0, 31.0, 0.0])
    expected = frozen(NegativeBinomial(), (mean, dispersion)).logpmf(y)
    params = [np.asarray(value, "float32") for value in (mean, dispersion)]
    found = np.asarray(NegativeBinomial().log_density(params, y.astype("float32")))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("distribution", ALL, ids=kind)
def test_unknown_and_masked_y_count_for_nothing(distribution):
    raw, params, y = draw(distribution, 8)
    keep = np.array([1, 1, 0, 1, 0, 0, 1, 1], bool)
    expected = distribution.negative_log_likelihood(distribution.split(raw[keep]), y[keep])
    hidden = np.where(keep, y, np.nan).astype("float32")

    def loss(raw, y, mask=None):
        return distribution.negative_log_likelihood(distribution.split(raw), y, mask)

    assert float(loss(raw, hidden)) == pytest.approx(float(expected), rel=1e-6)
    both = jax.jit(jax.value_and_grad(loss))
    for args in ((y, keep), (hidden, np.ones(8, bool)), (hidden, keep)):
        value, gradient = both(raw, *args)
        assert float(value) == pytest.approx(float(expected), rel=1e-6)
        assert np.isfinite(gradient).all() and (np.asarray(gradient)[~keep] == 0).all()
    value, gradient = both(raw, np.full(8, np.nan, "float32"), keep)
    assert float(value) == 0 and (np.asarray(gradient) == 0).all()


@pytest.mark.parametrize("distribution", ALL, ids=kind)
def test_gradients_are_finite_at_extremes(distribution):
    counts = isinstance(distribution, NegativeBinomial)
    ys = [0.0, 1.0, 1e3, 1e6] if counts else [0.0, 1e-6, -1e8, 1e8]
    corners = np.array([*np.ndindex(*[3] * distribution.num_params)]) * 60.0 - 60.0
    raw = np.repeat(corners, len(ys), axis=0).astype("float32")
    y = np.tile(np.array(ys, "float32"), len(corners))

    @jax.jit
    @jax.vmap
    def each(raw, y):
        return distribution.negative_log_likelihood(distribution.split(raw), y)

    @jax.jit
    @jax.grad
    def gradient(raw):
        return each(raw, y).sum()

    assert np.isfinite(each(raw, y)).all() and np.isfinite(gradient(raw)).all()


@pytest.mark.parametrize("distribution", ALL, ids=kind)
def test_gradients_are_those_of_central_differences(distribution):
    raw, _, y = draw(distribution, 20, seed=1)
    raw = raw / 2

    def exact(raw):
        params = [np.asarray(v, np.float64) for v in distribution.split(raw)]
        known = frozen(distribution, params)
        density = known.logpmf if isinstance(distribution, NegativeBinomial) else known.logpdf
        return -density(y.astype(np.float64)).mean()

    def loss(raw):
        return distribution.negative_log_likelihood(distribution.split(raw), y)

    gradient = np.asarray(jax.jit(jax.grad(loss))(raw))
    along = np.random.default_rng(0).normal(size=raw.shape).astype("float32")
    step = 1e-2
    slope = (exact(raw + step * along) - exact(raw - step * along)) / (2 * step)
    assert float((gradient * along).sum()) == pytest.approx(slope, rel=2e-2)


@pytest.mark.parametrize("distribution", ALL, ids=kind)
def test_quantiles_are_those_of_scipy(distribution):
    _, params, _ = draw(distribution, 40)
    qs = np.array([0.01, 0.1, 0.5, 0.9, 0.975])
    found = distribution.quantiles(params, qs)
    expected = frozen(distribution, [np.asarray(v)[:, None] for v in params]).ppf(qs)
    assert found.shape == (40, 5) and (np.diff(found, axis=1) >= 0).all()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        distribution.mean(params), frozen(distribution, params).mean(), rtol=1e-5
    )
    with pytest.raises(ValueError, match="between 0 and 1"):
        distribution.quantiles(params, [0.5, 1.0])


@pytest.mark.parametrize("distribution", ALL, ids=kind)
def test_samples_follow_the_quantiles(distribution):
    raw = np.array([[2.0, 0.5, 0.3], [0.1, -1.0, 2.0]], "float32")[:, : distribution.num_params]
    params = distribution.split(raw)
    draws = distribution.sample(params, 4000, np.random.default_rng(0))
    assert draws.shape == (4000, 2)
    edges = distribution.quantiles(params, [0.2, 0.8])
    below = (draws[..., None] <= edges).mean(axis=0)
    expected = frozen(distribution, [np.asarray(v)[:, None] for v in params]).cdf(edges)
    assert np.abs(below - expected).max() < 5 * 0.5 / np.sqrt(4000)


@pytest.mark.parametrize(
    ("distribution", "true"),
    [
        (Normal(), (3.0, 0.5)),
        (StudentT(), (-1.0, 2.0, 4.0)),
        (NegativeBinomial(), (6.0, 0.4)),
    ],
    ids=kind,
)
def test_a_fit_recovers_the_parameters(distribution, true):
    params = [np.array(v) for v in true]
    y = distribution.sample(params, 5000, np.random.default_rng(0)).astype("float32")

    def loss(raw):
        split = distribution.split(ops.broadcast_to(raw, (len(y), distribution.num_params)))
        return distribution.negative_log_likelihood(split, y)

    gradient = jax.jit(jax.grad(loss))
    raw, mean, square = (np.zeros(distribution.num_params, "float32") for _ in range(3))
    for t in range(1, 501):  # Adam
        g = np.asarray(gradient(raw))
        mean, square = 0.9 * mean + 0.1 * g, 0.99 * square + 0.01 * g * g
        rate = 0.1 * (1 - t / 501)
        raw -= rate * mean / (1 - 0.9**t) / (np.sqrt(square / (1 - 0.99**t)) + 1e-8)
    found = [float(value) for value in distribution.split(raw)]
    np.testing.assert_allclose(found, true, rtol=0.15)
    np.testing.assert_allclose(found[0], true[0], rtol=0.05)


@pytest.mark.parametrize("distribution", ALL, ids=kind)
def test_scale_moves_y(distribution):
    assert isinstance(distribution, Distribution)
    raw = draw(distribution, 6)[0]
    plain, scaled = distribution.split(raw), distribution.split(raw, 10.0)
    np.testing.assert_allclose(distribution.mean(scaled), 10 * distribution.mean(plain), rtol=1e-6)
    if not isinstance(distribution, NegativeBinomial):
        qs = [0.1, 0.9]
        a, b = distribution.quantiles(scaled, qs), 10 * distribution.quantiles(plain, qs)
        np.testing.assert_allclose(a, b, rtol=1e-5)
