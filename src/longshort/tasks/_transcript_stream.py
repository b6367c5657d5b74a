"""A transcript that grows while samples come in."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longshort._errors import DataError
from longshort.data._audio import check_samples
from longshort.data._mel import LogMel, LogMelStream
from longshort.data._sequences import Standardizer
from longshort.tasks._alphabet import Alphabet
from longshort.tasks._ctc_decoding import BLANK, PrefixBeam, collapsed
from longshort.tasks._transcriber_net import StreamingNet

Array = NDArray[np.floating]


class TranscriptStream:
    """Push chunks of samples of any size; `text` is what has been said so far.

    One frame needs `window` seconds of sound, so what `push` returns is at most that far and the
    reduction's frames behind. With a beam the last words may still change.

    Attributes:
        text: The transcript so far.
        real_time_factor: Seconds of work a second of sound, so far; below 1 keeps up.
    """

    def __init__(
        self,
        model: Any,
        mel: LogMel,
        scaler: Standardizer,
        alphabet: Alphabet,
        beam: PrefixBeam | None,
    ):
        self._net, self._mel = StreamingNet(model), LogMelStream(mel)
        self._scaler, self._alphabet, self._beam = scaler, alphabet, beam
        self._rate, self._samples, self._seconds = mel.rate, 0, 0.0
        self._labels: tuple[int, ...] = ()
        self._last, self._ended = BLANK, False

    def push(self, samples: Any) -> str:
        """Take the next samples, at the model's rate, and return the text so far.

        Raises:
            DataError: After `end`, or the samples cannot be used.
        """
        if self._ended:
            raise DataError("TranscriptStream: the stream has ended; begin a new one.")
        if np.size(samples) == 0:
            return self.text
        checked = check_samples(samples, self._rate, "samples")
        self._samples += len(checked)
        return self._take(self._mel.push, checked)

    def end(self) -> str:
        """Return the text of the whole; nothing can be pushed afterwards."""
        if not self._ended:
            self._ended = True
            self._take(lambda _none: self._mel.end(), None)
        return self.text

    @property
    def text(self) -> str:
        """The transcript so far."""
        labels = self._labels if self._beam is None else self._beam.best(1)[0][0]
        return self._alphabet.decode(labels)

    @property
    def real_time_factor(self) -> float:
        """Seconds of work a second of sound; NaN before any sound."""
        return self._seconds * self._rate / self._samples if self._samples else float("nan")

    def _take(self, frames_of: Any, samples: Any) -> str:
        start = time.perf_counter()
        frames = frames_of(samples)
        if len(frames):
            log_probs = self._net.push(self._scaler.transform([frames])[0])
            if self._beam is not None:
                self._beam.push(log_probs)
            elif len(log_probs):
                path = log_probs.argmax(axis=1)
                self._labels += collapsed(path, self._last)
                self._last = int(path[-1])
        text = self.text
        self._seconds += time.perf_counter() - start
        return text
