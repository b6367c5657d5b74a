"""What the commands share: tables by their ending, the progress on a terminal."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from longshort import SaveError
from longshort.cli import _common, _progress
from longshort.data import read_table


def test_output_by_its_ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = pd.date_range("2024-01-31 12:00", periods=2)
    table = pd.DataFrame({"unique_id": ["a", "b"], "ds": ds, "LSTM": [0.1, 2.0]})
    endings = [".csv", ".tsv", ".jsonl"] + [".parquet"] * (find_spec("pyarrow") is not None)
    for ending in endings:
        path = tmp_path / f"f{ending}"
        _common.write_table(table, path)
        again = read_table(path)
        again["ds"] = pd.to_datetime(again["ds"]).astype(ds.dtype)
        pd.testing.assert_frame_equal(again, table, check_dtype=False)
    monkeypatch.setattr(_common, "find_spec", lambda name: None)
    with pytest.raises(SaveError, match="pip install pyarrow"):
        _common.check_targets({"--output": tmp_path / "g.parquet"})


def test_time_left_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    left = _progress.TimeLeft(lambda: now[0])
    told = []
    for epoch, at in ((1, 20.0), (2, 22.0), (4, 26.0), (1, 40.0), (2, 45.0)):
        now[0] = at
        told.append(left.after(epoch, 10))
    assert told == [None, 16.0, 12.0, None, 40.0]  # the second training has times of its own
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with _common.progress_bar("testing", rounds=2) as progress:
        assert progress is not None
        for epoch in (1, 2, 1, 2):
            progress(epoch, 300, 0.25)
    printed = capsys.readouterr()
    assert printed.out == ""
    shown = " ".join(printed.err.split())
    assert "testing 2/2" in shown and "epoch 2/300, validation loss 0.2500, at most" in shown
