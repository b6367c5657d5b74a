"""Sound files as samples at one rate."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longshort._errors import DataError

Samples = NDArray[np.float32]

LOUD, SILENT = 0.3, 1e-10  # root mean square that is usual; power of 100 dB below full scale
MIN_RATE, MAX_RATE = 1_000, 768_000  # hertz; soundfile reads others, nobody records them


def read_audio(path: str | os.PathLike[str]) -> tuple[Samples, int]:
    """Read a sound file (wav, flac, ogg, ...) as one channel.

    Several channels are averaged. Integers of any width are scaled to -1 to 1.

    Args:
        path: A file that libsndfile reads.

    Returns:
        Samples (n,), float32, and their rate in hertz.

    Raises:
        DataError: There is no such file, it is no sound, it is empty, or holds values that are
            not finite.
        ImportError: soundfile is not installed (`pip install longshort[speech]`).
    """
    soundfile = _soundfile()
    if not os.path.isfile(path):
        raise DataError(f"{path}: there is no such file.")
    try:
        channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        reason = str(error).split(": ")[-1].rstrip(".")
        raise DataError(
            f"{path}: cannot be read as sound ({reason}); expected a whole wav, flac or ogg file."
        ) from None
    samples = channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1)
    return check_samples(samples, int(rate), str(path)), int(rate)


def check_samples(samples: Any, rate: Any, name: str) -> Samples:
    """Return one channel of sound as float32 (n,), or raise a DataError that begins with `name`.

    Integers are scaled by the largest value of their type: int16 is what most programs hand over.

    >>> check_samples(np.array([0, 16384], np.int16), 8000, "x").tolist()
    [0.0, 0.5]
    """
    check_rate(rate, name)
    array = np.asarray(samples)
    if array.ndim != 1 or array.dtype.kind not in "fi":
        raise DataError(
            f"{name}: expected one channel of samples as floats or signed integers, got shape "
            f"{array.shape} of {array.dtype}; average the channels first."
        )
    if len(array) == 0:
        raise DataError(f"{name}: holds no samples; leave it out.")
    if array.dtype.kind == "i":
        array = array / -float(np.iinfo(array.dtype).min)
    if not np.isfinite(array).all():
        raise DataError(f"{name}: holds samples that are not finite numbers; record it again.")
    return array.astype(np.float32)


def check_rate(rate: Any, name: str) -> None:
    """Raise a DataError that begins with `name` unless `rate` can be a sample rate."""
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer):
        raise DataError(f"{name}: expected a sample rate in whole hertz, got {rate!r}.")
    if not MIN_RATE <= rate <= MAX_RATE:
        raise DataError(
            f"{name}: expected a sample rate from {MIN_RATE} to {MAX_RATE} Hz, got {rate}."
        )


def resample(samples: Samples, rate: int, wanted: int) -> Samples:
    """Return the sound at another rate: `ceil(n wanted / rate)` samples.

    A polyphase filter (Kaiser window) that removes what the new rate cannot carry, by SciPy.

    >>> resample(np.ones(9, np.float32), 24_000, 8_000).shape
    (3,)
    """
    if rate == wanted:
        return samples
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    return np.asarray(resample_poly(samples, wanted // common, rate // common), np.float32)


def as_loud(samples: Samples, frame: int) -> Samples:
    """Return samples scaled so that the loudest quarter of the frames has the root mean square 0.3.

    Pauses do not count so, however long they are. Silence stays as it is.

    Args:
        samples: (n,).
        frame: Samples of a frame.

    >>> as_loud(np.array([0, 0, 0.01, -0.01, 0, 0, 0, 0], np.float32), 2)[2:5].round(2)
    array([ 0.3, -0.3,  0. ], dtype=float32)
    """
    frame = min(frame, max(1, len(samples)))
    count = len(samples) // frame
    power = np.square(samples[: count * frame], dtype=np.float64).reshape(count, frame).mean(axis=1)
    loudest = np.sort(power)[count - -(-count // 4) :].mean() if count else 0.0
    if loudest < SILENT:
        return samples
    return samples * np.float32(LOUD / np.sqrt(loudest))


def _soundfile() -> Any:
    try:
        import soundfile
    except ImportError:
        raise ImportError(
            "Reading sound files needs soundfile: pip install longshort[speech]"
        ) from None
    return soundfile
