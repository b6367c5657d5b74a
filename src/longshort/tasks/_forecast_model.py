"""A trained forecaster on arrays: windows in, quantiles out.

Axis letters: N windows, M members, H steps ahead, Q quantiles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from longshort.data._windows import WindowScale
from longshort.tasks._baselines import NLinear
from longshort.tasks._heads import Head
from longshort.tasks._linear_path import PathChoice, fit_paths, start_quantiles, thin
from longshort.tasks._members import KINDS, bases, best_share, mix, targets
from longshort.tasks._net_training import TrainPlan, predict, train, without_optimizer
from longshort.tasks._panel import Context, PanelWindows
from longshort.tasks._quantiles import widened, width_factors
from longshort.tasks._segment_net import NetShape, build_net
from longshort.tasks._training import Progress
from longshort.tasks._usual_widths import drawn_to_usual, trust_in

Array = NDArray[np.float64]

MAX_VAL_WINDOWS = 1_000


class ForecastModel:
    """A linear map, a network on top of it or beside it, and how wide its intervals are.

    Direct: the network gives all H steps. Recursive: it gives the next step, and the median is
    appended to the window for the one after; the intervals of step k are then those of the errors
    at step k in the validation part.

    Args:
        net: Shape of the network; its h is 1 if recursive.
        h: Steps ahead, H.
        head: What the outputs of the network mean.
        log: Whether to work on logarithms.
        missing: Whether the last channel is the flag of missing values.
    """

    def __init__(self, net: NetShape, h: int, head: Head, *, log: bool, missing: bool):
        self.net, self.h, self.head, self.quantiles = net, h, head, head.at
        self.log, self.missing = log, missing
        self.share, self.widths = 0.0, np.ones(len(head.at) // 2)
        self.trust = 1.0  # in these widths, against usual ones
        self.bands: Array | None = None  # (H, Q), if recursive
        self.path = NLinear()
        self.losses: list[float] = []

    @property
    def recursive(self) -> bool:
        """Whether steps are forecast one by one."""
        return self.bands is not None

    def fit(
        self,
        training: PanelWindows,
        held: PanelWindows,
        choice: PathChoice,
        plan: TrainPlan,
        progress: Progress | None,
        *,
        keep_best: bool,
    ) -> ForecastModel:
        """Train on windows of `net.h` targets, and stop and mix by those held out."""
        rng = np.random.default_rng(plan.seed)
        self.fit_path(training, choice, plan.seed)

        def gather(index: NDArray[np.intp]) -> tuple[list[Any], Any]:
            context, y = training.gather(index)
            scale = WindowScale.fit(context.x, log=self.log)
            learned = self.head.targets(context.x, y, self._bases(context.x, scale), scale)
            return context.inputs(scale, self.missing), learned.astype("float32")

        context, y = training.gather(thin(len(training), 2000, rng))
        scale = WindowScale.fit(context.x, log=self.log)
        sample = targets(y, self._bases(context.x, scale), scale)
        rolling = choice.residuals[:, : self.net.h]
        left = [rolling if len(rolling) else sample[:, 0], sample[:, 1]]
        starts = [self.head.start(one) for one in left]
        members = [starts[i % len(KINDS)] for i in range(self.net.num_members)]
        self.model = build_net(self.net, members, plan.seed)

        context, y = held.gather(thin(len(held), MAX_VAL_WINDOWS, rng))
        scale = WindowScale.fit(context.x, log=self.log)
        base = self._bases(context.x, scale)
        inputs, happened = context.inputs(scale, self.missing), targets(y, base * 0.0, scale)[:, 0]

        def forecasts() -> Array:
            return self._members(context.x, inputs, base, scale)

        self.losses, self.share = train(
            self.model,
            self.head.loss,
            plan,
            len(training),
            gather,
            lambda: best_share(forecasts(), happened, self.quantiles),
            progress,
            keep_best=keep_best,
        )
        if self.head.calibrated:
            mixed = mix(forecasts(), self.share)
            self.widths = width_factors(mixed, happened, self.quantiles)
            self.trust = trust_in(held.num_apart())
        self.model = without_optimizer(self.model)
        return self

    def fit_path(self, windows: PanelWindows, choice: PathChoice, seed: int) -> None:
        """Fit the linear map on windows of `net.h` targets."""
        rng = np.random.default_rng(seed)
        kinds, season = [(choice.pooled, choice.ridge)], choice.season_length
        (self.path,) = fit_paths(windows.filled, kinds, self.log, rng, season)

    def fit_bands(self, held: PanelWindows, seed: int) -> None:
        """Make the model recursive, with intervals from its errors in windows of h targets."""
        context, y = held.gather(thin(len(held), MAX_VAL_WINDOWS, np.random.default_rng(seed)))
        scale = WindowScale.fit(context.x, log=self.log)
        errors = scale.apply(y) - scale.apply(self._step_by_step(context))
        self.bands, self.trust = start_quantiles(errors, self.quantiles), 1.0

    def forecast(self, context: Context, usual: Array | None = None) -> Array:
        """Return the quantiles (N, H, Q) in the units of y.

        With `usual`, half widths (N, H, I) of y or its logarithm, the intervals are drawn towards
        these as far as there is no trust in their own.
        """
        scale = WindowScale.fit(context.x, log=self.log)
        if self.bands is not None:
            median = scale.apply(self._step_by_step(context))
            return scale.undo(median[..., None] + self.bands)
        forecasts = widened(mix(self._forecast(context, scale), self.share), self.widths)
        if usual is not None:
            forecasts = drawn_to_usual(forecasts, usual / scale.spread[..., None], self.trust)
        return scale.undo(forecasts)

    def _step_by_step(self, context: Context) -> Array:
        """Return the medians (N, H), each step forecast with those before it in the window."""
        x, past, medians = context.x, context.past, []
        middle = len(self.quantiles) // 2
        for k in range(self.h):
            ahead = context.ahead[:, k : k + 1]
            now = Context(x, past, ahead, context.static)
            scale = WindowScale.fit(x, log=self.log)
            members = self._forecast(now, scale)
            median = scale.undo(mix(members, self.share)[..., middle])
            medians.append(median)
            x = np.concatenate([x[:, 1:], median], axis=1)
            flag = np.zeros((len(x), 1, past.shape[-1] - ahead.shape[-1]))
            past = np.concatenate([past[:, 1:], np.concatenate([ahead, flag], -1)], axis=1)
        return np.concatenate(medians, axis=1)

    def _bases(self, x: Array, scale: WindowScale) -> Array:
        return bases(self.path, x, scale, self.net.num_members)

    def _forecast(self, context: Context, scale: WindowScale) -> Array:
        base = self._bases(context.x, scale)
        return self._members(context.x, context.inputs(scale, self.missing), base, scale)

    def _members(self, x: Array, inputs: list[Array], base: Array, scale: WindowScale) -> Array:
        """Return the members' quantiles (N, M, H, Q), scaled."""
        return self.head.quantiles(x, predict(self.model, inputs), base, scale)

    def to_state(self) -> dict[str, Any]:
        """Return all but the shape and the weights of the network as plain values, for a file."""
        return {
            "log": self.log,
            "missing": self.missing,
            "share": self.share,
            "widths": self.widths,
            "trust": self.trust,
            "bands": self.bands,
            "losses": self.losses,
            "ridge": self.path.ridge,
            "coef": self.path.coef_,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], net: NetShape, h: int, head: Head) -> ForecastModel:
        """Build what `to_state` kept, with any weights in the network.

        Raise KeyError, TypeError or ValueError if it is broken.
        """
        self = cls(net, h, head, log=bool(state["log"]), missing=bool(state["missing"]))
        self.share, self.losses = float(state["share"]), list(state["losses"])
        self.widths = np.asarray(state["widths"], np.float64)
        self.trust = float(state.get("trust", 1))
        if not 0 <= self.trust <= 1:
            raise ValueError(f"trust is {self.trust}")
        if state["bands"] is not None:
            self.bands = np.asarray(state["bands"], np.float64)
        self.path = NLinear(float(state["ridge"]), self.log)
        self.path.coef_ = np.asarray(state["coef"], np.float64)
        for name, array, shape in (
            ("coef", self.path.coef_, (net.input_size, net.h)),
            ("widths", self.widths, (len(head.at) // 2,)),
            ("bands", self.bands, (h, len(head.at))),
        ):
            if array is not None and array.shape != shape:
                raise ValueError(f"{name} has the shape {array.shape}")
        self.model = build_net(net, [None] * net.num_members, seed=0)
        return self
