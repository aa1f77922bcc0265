"""A speaker heard again: angles and correlations by their definitions."""

import numpy as np
import pytest

from s2f import consistency, stats
from s2f.paths import UserError

QUICK = stats.Resampling(seed=2, replicates=300)


def clips_of(n_speakers, clips, rng, dim=6, noise=0.5):
    """Features that are a speaker's own plus the noise of each clip."""
    speakers = np.repeat(np.arange(n_speakers), clips)
    own = rng.normal(size=(n_speakers, dim))
    return own[speakers] + noise * rng.normal(size=(len(speakers), dim)), own[speakers], speakers


def test_consistency_equals_its_definitions(rng):
    pred, _, speakers = clips_of(50, 4, rng, noise=0.5)
    found = consistency.consistency(pred, speakers, QUICK)
    unit = pred / np.linalg.norm(pred, axis=1, keepdims=True)
    angle = np.degrees(np.arccos(np.clip(unit @ unit.T, -1, 1)))
    same = speakers[:, None] == speakers
    off = ~np.eye(len(pred), dtype=bool)
    assert found.value["same speaker, degrees"] == pytest.approx(angle[same & off].mean())
    assert found.value["other speakers, degrees"] == pytest.approx(angle[~same].mean())
    icc = found.loc["intraclass correlation"]
    assert icc.low < 1 / (1 + 0.25) < icc.high


def test_consistency_of_one_face_for_everybody_is_zero():
    found = consistency.consistency(np.ones((60, 3)), np.repeat(np.arange(30), 2), QUICK)
    assert found.value["intraclass correlation"] == 0
    with pytest.raises(UserError, match="two clips of one speaker"):
        consistency.consistency(np.ones((3, 2)), np.arange(3), QUICK)
