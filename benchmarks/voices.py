"""Words said by synthesised voices: espeak-ng's and flite's, `apt-get install espeak-ng flite`.

A few speakers teach a network their own voices. Synthesisers have dozens more, of any height and
pace; what a network learns of those alone is little, but it holds for people, too.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longshort.data import read_audio, resample

Sound = NDArray[np.float32]

ACCENTS = {  # of espeak-ng, and how often
    "en-us": 0.40,
    "en-gb": 0.20,
    "en-gb-x-rp": 0.15,
    "en-gb-x-gbcwmd": 0.10,
    "en-gb-scotland": 0.05,
    "en-gb-x-gbclan": 0.05,
    "en-029": 0.05,
}
# ("Mr serious", whose name is cut off after the first word, says all in the accent's plain voice.)
NOT_LIKE_PEOPLE = {"whisper", "whisperf", "croak", "announcer", "Demonic", "UniRobot", "anikaRobot"}
FLITE = ("kal16", "awb", "rms", "slt")
STRETCHES = (0.7, 0.85, 1.0, 1.2, 1.4)
EDGE = 0.05  # seconds of silence left at either end


def check_programs() -> None:
    """End the program where the synthesisers are missing."""
    if lacking := [name for name in ("espeak-ng", "flite") if not shutil.which(name)]:
        raise SystemExit(f"{' and '.join(lacking)} missing: apt-get install {' '.join(lacking)}")


@functools.cache
def synthesised(
    words: tuple[str, ...], rate: int, num_voices: int, seed: int = 0
) -> list[tuple[Sound, str]]:
    """Return each word in so many voices of espeak-ng, and in all of flite's: sounds and words.

    Args:
        words: What to say, a recording each.
        rate: Samples a second.
        num_voices: Of espeak-ng: variant, accent, pace and height are drawn for each.
        seed: Of what is drawn; the peak of each is 0.3, with noise 40 to 80 dB below 1.
    """
    check_programs()
    version = subprocess.run(["espeak-ng", "--version"], check=True, capture_output=True, text=True)
    print(version.stdout.split("  ")[0], flush=True)  # other versions have other voices
    rng = np.random.default_rng(seed)
    clips = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "word.wav"
        for command in (*_espeak(num_voices, rng), *_flite()):
            for word in words:
                path.unlink(missing_ok=True)  # flite does not always say that it failed
                filled = [each.format(path=path, word=word) for each in command]
                subprocess.run(filled, check=True, capture_output=True)
                x, found = read_audio(path)
                x = resample(_cut(x, found), found, rate)
                noise = rng.normal(size=len(x)) * 10 ** rng.uniform(-4, -2.2)
                clips.append(((0.3 * x / np.abs(x).max() + noise).astype(np.float32), word))
    return clips


def _espeak(num_voices: int, rng: np.random.Generator) -> Iterator[list[str]]:
    """Yield commands with the fields path and word."""
    listed = subprocess.run(
        ["espeak-ng", "--voices=variant"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    variants = [line.split("!v/")[1].split()[0] for line in listed if "!v/" in line]
    variants = [v for v in variants if v not in NOT_LIKE_PEOPLE and not v.startswith("robo")]
    for number in range(num_voices):
        variant = variants[number % len(variants)]
        accent = rng.choice(list(ACCENTS), p=list(ACCENTS.values()))
        pace, height = str(rng.integers(110, 220)), str(rng.integers(15, 85))
        voice = ["-v", f"{accent}+{variant}", "-s", pace, "-p", height]
        yield ["espeak-ng", *voice, "-w", "{path}", "{word}"]


def _flite() -> Iterator[list[str]]:
    for voice in FLITE:
        for stretch in STRETCHES:
            pace = f"duration_stretch={stretch}"
            yield ["flite", "-voice", voice, "--setf", pace, "-t", "{word}", "-o", "{path}"]


def _cut(x: Sound, rate: int) -> Sound:
    """Cut the silence off, where the mean power of 10 ms is 40 dB below the highest."""
    width = rate // 100
    power = np.convolve(x**2, np.ones(width) / width, "same")
    loud = np.flatnonzero(power > 1e-4 * power.max())
    edge = int(EDGE * rate)
    return x[max(0, loud[0] - edge) : loud[-1] + edge]
