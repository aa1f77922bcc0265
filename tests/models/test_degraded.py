"""Degraded copies take the way of any recording: whatever the number of workers; without speech, refused."""

import numpy as np

from s2f.models import degraded
from s2f.signal import speech


def test_copies_do_not_depend_on_workers_or_on_other_recordings(tiny, spoken, monkeypatch):
    models = tiny.folders["network"]
    monkeypatch.setattr(degraded, "BLOCK", 1)
    wave = speech.isolate(spoken(5))[: 3 * 16_000]
    silent = np.zeros_like(wave)
    conditions = degraded.conditions({"noise": [20.0], "telephone": [7.0, 3.4]})
    assert conditions["condition"].tolist() == ["clean", "noise 20 dB", "telephone 7 kHz", "telephone 3.4 kHz"]
    assert conditions["place"].tolist() == [1, 1, 1, 2]
    waves = [wave, silent]
    table, seen = degraded.embed(models, "network", 3.0, waves, conditions, 7, 1)
    _, features = degraded.predictions(seen, [None] * 8)
    assert table["clip"].tolist() == [0] * 4 + [1] * 4
    assert table["refused"].tolist() == [False] * 4 + [True] * 4
    assert np.isfinite(features[:4]).all() and np.isnan(features[4:]).all()
    _, again = degraded.embed(models, "network", 3.0, waves[:1], conditions, 7, 2)
    signs, alone = degraded.predictions(again, [None] * 4)
    assert np.array_equal(alone, features[:4])
    assert np.array_equal(signs, degraded.predictions(seen, [None] * 8)[0][:4], equal_nan=True)
