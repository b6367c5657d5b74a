import builtins

import numpy as np
import pytest

from longshort._errors import DataError
from longshort.data._audio import check_samples, read_audio, resample
from longshort.data._mel import FLOOR, LogMel, LogMelStream, with_slopes
from longshort.data._spec_augment import augmented, spec_augment, warp
from longshort.data._varied import varied

soundfile = pytest.importorskip("soundfile")


@pytest.mark.parametrize(
    ("name", "kind", "close"),
    [
        ("a.wav", "PCM_16", 4e-5),
        ("a.wav", "PCM_U8", 8e-3),
        ("a.wav", "FLOAT", 1e-7),
        ("a.flac", "PCM_24", 2e-7),
    ],
)
@pytest.mark.parametrize("rate", [8_000, 96_000])
def test_files_of_any_kind(tmp_path, name, kind, close, rate):
    x = np.random.default_rng(0).uniform(-0.9, 0.9, (300, 2)).astype(np.float32)
    soundfile.write(tmp_path / name, x[:, 0], rate, subtype=kind)
    samples, found = read_audio(tmp_path / name)
    assert found == rate and samples.dtype == np.float32
    np.testing.assert_allclose(samples, x[:, 0], atol=close)
    soundfile.write(tmp_path / name, x, rate, subtype=kind)
    np.testing.assert_allclose(read_audio(tmp_path / name)[0], x.mean(axis=1), atol=close)


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    def refused(name, content=None):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError) as error:
            read_audio(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
        return str(error.value)

    assert "there is no such file" in refused("none.wav")
    assert "cannot be read as sound" in refused("text.wav", b"no sound at all, but text" * 9)
    assert "cannot be read as sound" in refused("empty.wav", b"")
    soundfile.write(tmp_path / "good.wav", np.zeros(100), 8000)
    whole = (tmp_path / "good.wav").read_bytes()
    assert "cannot be read as sound" in refused("cut.wav", whole[:20])
    assert "no samples" in refused("header.wav", whole[:44])
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 8000, subtype="FLOAT")
    assert "not finite" in refused("nan.wav")

    real = builtins.__import__

    def without(name, *args, **given):
        if name == "soundfile":
            raise ImportError(name)
        return real(name, *args, **given)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install longshort\[speech\]"):
        read_audio(tmp_path / "good.wav")


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros((4, 2)), 8000, "one channel"),
        (np.zeros(4, complex), 8000, "floats or signed integers"),
        (np.zeros(0), 8000, "no samples"),
        (np.zeros(4), 8000.5, "whole hertz"),
        (np.zeros(4), True, "whole hertz"),
        (np.zeros(4), 10, "from 1000 to"),
        (np.array([np.inf]), 8000, "not finite"),
    ],
)
def test_samples_that_cannot_be_used(samples, rate, message):
    with pytest.raises(DataError, match=f"^it: .*{message}"):
        check_samples(samples, rate, "it")


def test_resampling_keeps_a_tone_and_drops_what_does_not_fit():
    t = np.arange(96_000) / 96_000
    tone, high = np.sin(2 * np.pi * 440 * t), np.sin(2 * np.pi * 7_000 * t)
    found = resample((tone + high).astype(np.float32), 96_000, 8_000)
    wanted = np.sin(2 * np.pi * 440 * np.arange(8_000) / 8_000)
    assert len(found) == 8_000
    np.testing.assert_allclose(found[100:-100], wanted[100:-100], atol=2e-2)
    same = tone.astype(np.float32)
    assert resample(same, 8_000, 8_000) is same


def reference(x, rate, num_mels, low, high):
    """Frame by frame and frequency by frequency, from the definition, in float64."""
    frame, step, size = round(0.025 * rate), round(0.01 * rate), 1
    while size < frame:
        size *= 2
    n = np.arange(frame)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / frame)
    frequency = np.arange(size // 2 + 1) * rate / size
    fourier = np.exp(-2j * np.pi * np.outer(np.arange(size // 2 + 1), n) / size)
    mel = 2595 * np.log10(1 + frequency / 700)
    bottom, top = 2595 * np.log10(1 + np.array([low, high]) / 700)
    width = (top - bottom) / (num_mels + 1)
    rows = []
    for start in range(0, len(x) - frame + 1, step):
        power = np.abs(fourier @ (window * x[start : start + frame])) ** 2 / (window**2).sum()
        row = []
        for m in range(num_mels):
            triangle = np.maximum(0, 1 - np.abs(mel - bottom - (m + 1) * width) / width)
            row.append(np.log(FLOOR + (triangle * power).sum() / triangle.sum()))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize(("rate", "low", "high"), [(8_000, 20, None), (16_000, 100, 7_000)])
def test_features_by_definition(rate, low, high):
    x = np.random.default_rng(0).normal(0, 0.1, 3_000)
    found = LogMel(rate, 13, low=low, high=high)(x.astype(np.float32))
    wanted = reference(x, rate, 13, low, high or rate / 2)
    assert found.shape == wanted.shape and found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_tone_lies_in_its_band_and_silence_at_the_floor():
    features = LogMel(8_000, 20)
    tone = np.sin(2 * np.pi * 1_000 * np.arange(4_000) / 8_000).astype(np.float32)
    at = np.fft.rfftfreq(features.size, 1 / 8_000)
    band = int(features.bands[:, np.argmin(np.abs(at - 1_000))].argmax())
    assert (features(tone).argmax(axis=1) == band).all()
    np.testing.assert_allclose(features(np.zeros(500, np.float32)), np.log(FLOOR), rtol=1e-6)


@pytest.mark.parametrize("length", [1, 199, 200, 201, 1_000, 20_000])
def test_chunks_have_the_frames_of_the_whole(length):
    rng = np.random.default_rng(length)
    x = rng.normal(size=length).astype(np.float32)
    features = LogMel(8_000, 20)
    whole = features(x)
    assert len(whole) == features.num_frames(length)
    stream, parts, at = LogMelStream(features), [], 0
    while at < length:
        size = int(rng.integers(0, 700))
        parts.append(stream.push(x[at : at + size]))
        at += size
    np.testing.assert_allclose(np.concatenate([*parts, stream.end()]), whole, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_mels": 500}, "500 bands are too many"),
        ({"high": 5_000}, "half the sample"),
        ({"low": 4_000}, "low < high"),
        ({"window": 1e-5}, "too short"),
    ],
)
def test_features_that_make_no_sense(given, message):
    with pytest.raises(DataError, match=message):
        LogMel(8_000, **given)


def test_masks_hide_stripes_and_nothing_else():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 40)).astype(np.float32)
    hidden = np.zeros((100, 40))
    for _ in range(300):
        y = spec_augment(x, rng, time_masks=1, frequency_masks=1)
        gone = y == 0
        rows, columns = gone.all(axis=1), gone.all(axis=0)
        assert (y[~gone] == x[~gone]).all() and (gone == rows[:, None] | columns).all()
        assert rows.sum() <= 20 and columns.sum() <= 8
        hidden += gone
    assert hidden.min() > 0  # everything is hidden now and then
    assert (spec_augment(x[:3], rng) != 0).any(axis=1).all()  # never all of a short sound


def test_a_warp_moves_frequencies_and_time():
    rng = np.random.default_rng(0)
    x = np.zeros((100, 40), np.float32)
    x[:, 20], x[50:, 5] = 1.0, 1.0
    np.testing.assert_array_equal(warp(x, rng, tempo=0, tract=0), x)
    counts, tops = [], []
    for _ in range(200):
        y = warp(x, rng)
        counts.append(len(y))
        tops.append(int(y[0].argmax()))
        began = float((y[:, 3:8].max(axis=1) > 0.2).argmax()) / len(y)
        assert began == pytest.approx(0.5, abs=0.02)
    assert min(counts) in (83, 84) and 122 <= max(counts) <= 125
    assert min(tops) == 18 and max(tops) == 22
    assert {len(augmented(x, 98, 101, rng)) for _ in range(50)} == {98, 99, 100, 101}
    assert warp(x[:1], rng).shape == (1, 40)


def test_slopes_are_blind_to_levels_and_right_where_features_are_straight():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 5)).astype(np.float32)
    y = with_slopes(x)
    assert y.shape == (9, 15) and y.dtype == np.float32
    np.testing.assert_array_equal(y[:, :5], x)
    np.testing.assert_allclose(y[1:-1, 5:10], x[2:] - x[:-2], rtol=1e-6)
    np.testing.assert_allclose(y[:, 11:14], x[:, 2:] - x[:, :-2], rtol=1e-6)
    of_bands, of_steps = rng.normal(size=5), rng.normal(size=(9, 1))
    np.testing.assert_allclose(with_slopes(x + of_bands)[:, 5:10], y[:, 5:10], atol=1e-6)
    np.testing.assert_allclose(with_slopes(x + of_steps)[:, 10:], y[:, 10:], atol=1e-6)
    plane = 3 * np.arange(4.0)[:, None] - 5 * np.arange(3.0)
    np.testing.assert_allclose(with_slopes(plane)[:, 3:], np.tile([6.0] * 3 + [-10.0] * 3, (4, 1)))
    assert (with_slopes(x[:1])[:, 5:10] == 0).all()  # one step has no slope over time


def test_varied_features_differ_as_they_are_said_to():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 24)).astype(np.float32)
    before = x.copy()
    same = {"cut": 0.0, "noise": 0.0, "tempo": 0.0, "tract": 0.0}
    curves = np.stack([varied(x, rng, **same) - x for _ in range(200)])
    np.testing.assert_allclose(curves, np.broadcast_to(curves[:, :1], curves.shape), atol=1e-5)
    assert np.abs(np.diff(curves[:, 0], 2)).max() < 0.2  # smooth
    assert 0.35 < curves[:, 0].std() < 0.65 and np.abs(curves[:, 0].mean(axis=0)).max() < 0.2
    lengths = [len(varied(x, rng, **same | {"cut": 0.25})) for _ in range(200)]
    assert min(lengths) < 40 and max(lengths) == 60 and min(lengths) >= 30
    assert 20 < sum(n == 60 for n in lengths) < 80  # a quarter of all is not cut
    lengths = [len(varied(x, rng, **same | {"tempo": 0.2})) for _ in range(200)]
    assert 50 <= min(lengths) < 52 and 72 < max(lengths) <= 75
    tone = np.zeros((60, 24), np.float32)
    tone[:, 12] = 20.0
    peaks = {int(varied(tone, rng, **same | {"tract": 0.1})[0].argmax()) for _ in range(200)}
    assert min(peaks) in (10, 11) and max(peaks) in (13, 14)

    silent = np.full((60, 24), -50.0, np.float32)
    silent[20:40] = 0.0
    noisy = np.stack([varied(silent, rng, **same | {"noise": 1.0}) for _ in range(300)])
    assert np.isfinite(noisy).all() and noisy.dtype == np.float32
    loudest = noisy[:, 20:40].max(axis=(1, 2))
    levels = noisy[:, :20].mean(axis=1) - loudest[:, None]  # nothing of the -50 is left
    assert levels[:, 11:13].min() > -9.5 and levels[:, 11:13].max() < -3.0
    assert levels.mean() == pytest.approx(-6.25, abs=0.5)  # halfway from 39 to 15 dB
    slopes = levels[:, -1] - levels[:, 0]
    assert slopes.min() < -2 and slopes.max() > 2
    assert noisy[:, :20].std(axis=1).mean() == pytest.approx(0.3, abs=0.03)
    assert np.abs(noisy[:, 20:40].mean(axis=(1, 2))).max() < 3  # the loud part stays
    some = [varied(silent, rng, **same | {"noise": 0.5})[:20].mean() > -20 for _ in range(200)]
    assert 60 < sum(some) < 140
    np.testing.assert_array_equal(x, before)
    assert varied(x.astype(float), rng, noise=0.0).dtype == np.float32
    assert varied(x[:1], rng).shape[1] == 24 and len(varied(x[:1], rng)) == 1
    twice = [varied(x, np.random.default_rng(7)) for _ in range(2)]
    np.testing.assert_array_equal(*twice)


@pytest.mark.parametrize("shape", [(), (9,), (0, 24), (9, 1), (2, 9, 24)])
def test_what_is_no_recording_has_neither_slopes_nor_variants(shape):
    for refuse in (with_slopes, lambda x: varied(x, np.random.default_rng(0))):
        with pytest.raises(DataError, match=r"expected features \(steps, bands\)"):
            refuse(np.zeros(shape, np.float32))
        with pytest.raises(DataError, match="features are not numbers"):
            refuse([["low", "high"]])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cut": 0.5}, "cut must be from 0 on and below 0.5, got 0.5"),
        ({"noise": 1.1}, "noise must be from 0 to 1, got 1.1"),
        ({"tempo": 1.0}, "tempo must be from 0 on and below 1"),
        ({"tract": -0.1}, "tract must be from 0 on"),
        ({"cut": float("nan")}, "cut must be"),
    ],
)
def test_shares_that_make_no_sense(given, message):
    with pytest.raises(DataError, match=message):
        varied(np.zeros((9, 24), np.float32), np.random.default_rng(0), **given)
