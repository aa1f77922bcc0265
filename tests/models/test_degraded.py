"""Degraded copies take the way of any recording: whatever the number of workers; without speech, refused."""

import numpy as np
import pytest
import torch

from s2f.models import degraded, inference, voice_encoder, weights
from s2f.signal import speech


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    encoder = voice_encoder.VoiceEncoder(voice_encoder.SMALL)
    weights.save(folder / "voice.safetensors", data_md5="none", code="none", encoder=encoder)
    inference.write_facts(folder, 3.0, np.zeros((2, 128), np.float32))
    return folder


def test_copies_do_not_depend_on_workers_or_on_other_recordings(models, spoken, monkeypatch):
    monkeypatch.setattr(degraded, "BLOCK", 1)
    wave = speech.isolate(spoken(5))[: 3 * 16_000]
    silent = np.zeros_like(wave)
    conditions = degraded.conditions({"noise": [20.0], "telephone": [7.0, 3.4]})
    assert conditions["condition"].tolist() == ["clean", "noise 20 dB", "telephone 7 kHz", "telephone 3.4 kHz"]
    assert conditions["place"].tolist() == [1, 1, 1, 2]
    waves = np.stack([wave, silent])
    table, features = degraded.predict(models, waves, conditions, 7, 1)
    assert table["clip"].tolist() == [0] * 4 + [1] * 4
    assert table["refused"].tolist() == [False] * 4 + [True] * 4
    assert np.isfinite(features[:4]).all() and np.isnan(features[4:]).all()
    (alone, again) = degraded.predict(models, waves[:1], conditions, 7, 2)
    assert np.array_equal(again, features[:4])
    assert alone["dynamics"].tolist() == table["dynamics"].tolist()[:4]
