"""Log-mel features: what a speech recogniser sees of a sound."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from longshort._errors import DataError

Array = NDArray[np.float32]

FLOOR = 1e-6  # added to each mean power, so that silence has a logarithm: 60 dB below full scale


@dataclass(frozen=True)
class LogMel:
    """Logarithms of a sound's power in bands that are even on the mel scale.

    For frame t of W samples x, begun at sample t S, with a Hann window w,

        P[k] = |sum_n w[n] x[t S + n] exp(-2 pi i k n / N)|^2 / sum_n w[n]^2
        y[t, m] = log(FLOOR + sum_k M[m, k] P[k] / sum_k M[m, k])

    where M are triangles with corners at even distances of the mel scale 2595 log10(1 + f / 700)
    (O'Shaughnessy 1987) and N is the least power of two from W on. No frame reaches before the
    first or behind the last sample, so a sound in chunks has the same frames as a whole one; a
    sound shorter than a frame is one frame, zeros behind it.

    Args:
        rate: Samples a second.
        num_mels: Bands.
        window: Seconds of a frame.
        hop: Seconds from one frame to the next.
        low: Least frequency in hertz.
        high: Greatest; None: half of `rate`.

    >>> LogMel(8000, num_mels=20)(np.zeros(8000, np.float32)).shape
    (98, 20)
    """

    rate: int
    num_mels: int = 40
    window: float = 0.025
    hop: float = 0.01
    low: float = 20.0
    high: float | None = None
    frame: int = field(init=False)
    step: int = field(init=False)

    def __post_init__(self) -> None:
        """Work out the frame in samples, and refuse what leaves a band empty."""
        object.__setattr__(self, "frame", round(self.window * self.rate))
        object.__setattr__(self, "step", round(self.hop * self.rate))
        top = self.rate / 2 if self.high is None else self.high
        if not 0 <= self.low < top <= self.rate / 2:
            raise DataError(
                f"LogMel: expected 0 <= low < high <= {self.rate / 2:g} Hz (half the sample "
                f"rate), got {self.low:g} and {top:g}."
            )
        if self.step < 1 or self.frame < 2:
            raise DataError(
                f"LogMel: a frame of {self.window} s every {self.hop} s is too short at "
                f"{self.rate} Hz; make window and hop longer."
            )
        if (self.bands.sum(axis=1) == 0).any():
            raise DataError(
                f"LogMel: {self.num_mels} bands are too many for frames of {self.window} s at "
                f"{self.rate} Hz, some hold no frequency; take fewer or a longer window."
            )

    @property
    def size(self) -> int:
        """Samples of the Fourier transform, N."""
        return 1 << (self.frame - 1).bit_length()

    @cached_property
    def bands(self) -> Array:
        """The triangles M (num_mels, N / 2 + 1)."""
        top = self.rate / 2 if self.high is None else self.high
        corners = np.linspace(_mel(self.low), _mel(top), self.num_mels + 2)
        left, middle, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
        at = _mel(np.fft.rfftfreq(self.size, 1 / self.rate))
        rise, fall = (at - left) / (middle - left), (right - at) / (right - middle)
        return np.maximum(0.0, np.minimum(rise, fall)).astype(np.float32)

    @cached_property
    def _weights(self) -> tuple[Array, Array]:
        hann = np.hanning(self.frame + 1)[:-1]
        bands = self.bands / self.bands.sum(axis=1, keepdims=True)
        return (hann / np.sqrt((hann**2).sum())).astype(np.float32), bands.T.copy()

    def num_frames(self, num_samples: int) -> int:
        """Return how many frames a sound of so many samples has."""
        return 1 + max(0, num_samples - self.frame) // self.step

    def __call__(self, samples: Array) -> Array:
        """Return features (T, num_mels), float32, of samples (n,)."""
        if len(samples) < self.frame:
            samples = np.pad(samples, (0, self.frame - len(samples)))
        hann, bands = self._weights
        frames = np.lib.stride_tricks.sliding_window_view(samples, self.frame)[:: self.step]
        features = np.empty((len(frames), self.num_mels), np.float32)
        for start in range(0, len(frames), 1000):  # 10 s at a time: an hour would take gigabytes
            part = frames[start : start + 1000] * hann
            power = np.abs(np.fft.rfft(part, self.size).astype(np.complex64)) ** 2
            features[start : start + 1000] = np.log(power @ bands + np.float32(FLOOR))
        return features


def with_slopes(features: Array) -> Array:
    """Return features (T, 3 D): what there is, and how it changes over time and over the bands.

        y[t] = [x[t], x[t + 1] - x[t - 1], x[t, m + 1] - x[t, m - 1] for each band m]

    and twice the difference of two neighbours at the ends; a single step has no change over
    time. A level that a microphone or a voice adds to a band is not in the second part, one of
    all bands not in the third. Furui (1986), "Speaker-independent isolated word recognition
    using dynamic features of speech spectrum", found the second to help where speakers were not
    heard.

    Args:
        features: (T, D) of `LogMel`, bands in the order of their frequencies.

    Raises:
        DataError: If features have another shape, no step or fewer than two bands.

    >>> with_slopes(np.array([[0, 1, 4], [0, 2, 6]], np.float32)).tolist()
    [[0.0, 1.0, 4.0, 0.0, 2.0, 4.0, 2.0, 4.0, 6.0], [0.0, 2.0, 6.0, 0.0, 2.0, 4.0, 4.0, 6.0, 8.0]]
    """
    features = check_features("with_slopes", features)
    over_time = np.gradient(features, axis=0) if len(features) > 1 else np.zeros_like(features)
    return np.concatenate([features, 2 * over_time, 2 * np.gradient(features, axis=1)], axis=1)


def check_features(caller: str, features: Array) -> Array:
    """Return features (T, D) in float32, of a step or more and two bands or more."""
    try:
        features = np.asarray(features, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{caller}: features are not numbers: {error}.") from None
    if features.ndim != 2 or len(features) < 1 or features.shape[1] < 2:
        raise DataError(
            f"{caller}: expected features (steps, bands) of one recording, at least one step and "
            f"two bands, got shape {features.shape}."
        )
    return features


class LogMelStream:
    """The frames of a sound that comes in chunks of any size; all together those of the whole.

    >>> stream = LogMelStream(LogMel(8000, num_mels=20))
    >>> [len(stream.push(np.zeros(n, np.float32))) for n in (150, 50, 80)]
    [0, 1, 1]
    """

    def __init__(self, features: LogMel):
        self.features = features
        self._left = np.zeros(0, np.float32)
        self._any = False

    def push(self, samples: Array) -> Array:
        """Return the frames (T, num_mels) that these samples complete."""
        self._left = np.concatenate([self._left, samples])
        if len(self._left) < self.features.frame:
            return np.zeros((0, self.features.num_mels), np.float32)
        frames = self.features(self._left)
        self._left, self._any = self._left[len(frames) * self.features.step :], True
        return frames

    def end(self) -> Array:
        """Return what is due at the end: one frame if the whole was shorter than one."""
        left, self._left = self._left, np.zeros(0, np.float32)
        if self._any or len(left) == 0:
            return np.zeros((0, self.features.num_mels), np.float32)
        return self.features(left)


def _mel(hertz: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0))
