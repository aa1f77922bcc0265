"""What degraded copies change: nothing where nothing was changed, what was planted where it was, and no more."""

import numpy as np
import pandas as pd
import pytest

from s2f.metrics import robustness
from s2f.metrics.bootstrap import Resampling
from s2f.study.paths import UserError

QUICK = Resampling(seed=1, replicates=400)
CLIPS = 60


def copies(rng, **planted):
    """Three conditions of each clip; `planted[condition]` is added to the trait."""
    person = rng.normal(0, 3, CLIPS)
    rows = [
        {
            "clip": clip,
            "speaker_id": f"s{clip:02d}",
            "condition": condition,
            "tone": person[clip] + planted.get(condition, 0) + (condition != "clean") * rng.normal(0, 0.5),
        }
        for clip in range(CLIPS)
        for condition in ("clean", "noise", "room")
    ]
    return pd.DataFrame(rows)


def groups(table):
    return pd.DataFrame({"sex": np.where(table["clip"] % 2, "F", "M"), "group": "G1"})


def test_no_shift_is_found_where_there_is_none(rng):
    table = copies(rng)
    shifted = robustness.shifts(table, ["tone"], groups(table), QUICK, "clean")
    assert len(shifted) == 2 * 4  # conditions, and all, F, M, G1
    assert not robustness.beyond(shifted)


def test_a_planted_shift_is_found_named_and_sized(rng):
    table = copies(rng, room=-4.0)
    shifted = robustness.shifts(table, ["tone"], groups(table), QUICK, "clean")
    everybody = shifted[(shifted["of"] == "all")].set_index("condition")
    # 60 speakers with a standard deviation of 0.5 fix the mean within 4 * 0.065.
    assert everybody.loc["room", "value"] == pytest.approx(-4, abs=0.26)
    assert everybody.loc["noise", "low"] < 0 < everybody.loc["noise", "high"]
    found = robustness.beyond(shifted)
    assert {sentence.split(" by ")[0] for sentence in found} == {
        f"Room moves tone of {of}" for of in ("all speakers", "women", "men", "speakers of G1")
    }


def test_intervals_cover_all_conditions_and_groups_together(rng):
    """In data without shifts, one false finding in 20 studies at most, whatever the number of conditions."""
    found = 0
    for _ in range(60):
        table = copies(rng)
        shifted = robustness.shifts(table, ["tone"], groups(table), QUICK, "clean")
        found += ((shifted["low"] > 0) | (shifted["high"] < 0)).any()
    # 60 studies at 5 %: 3 expected; above 9 in one of 1,000 runs.
    assert found <= 9


def test_angles_are_to_the_first_copy_of_the_clip(rng):
    features = rng.normal(size=(4, 8)).astype(np.float32)
    features[3] = np.nan
    features[2] = 3 * features[1]
    clips = np.array([0, 1, 1, 1])
    angle = robustness.angles_to_first(features, clips)
    np.testing.assert_allclose(angle[:3], 0, atol=1e-3)  # arccos near 1 loses half of the digits
    assert np.isnan(angle[3])


def test_one_clip_a_speaker_at_regular_steps():
    clips = pd.DataFrame(
        {"clip_id": range(40), "speaker_id": np.repeat(np.arange(20), 2), "split": ["val"] * 10 + ["test"] * 30}
    )
    chosen = robustness.one_clip_a_speaker(clips, {"test": 5, "val": 100})
    assert not chosen.duplicated("speaker_id").any()
    assert chosen["split"].value_counts().to_dict() == {"test": 5, "val": 5}
    assert chosen.loc[chosen["split"] == "test", "speaker_id"].iloc[[0, -1]].tolist() == [5, 19]
    with pytest.raises(UserError, match="split train has no clip"):
        robustness.one_clip_a_speaker(clips, {"train": 5})


def test_rank_correlation_knows_order_and_leaves_unknown_rows_out(rng):
    x = rng.normal(size=CLIPS)
    table = pd.DataFrame({"x": x, "y": np.exp(x), "speaker_id": np.arange(CLIPS)})
    table.loc[3, "x"] = np.nan
    estimate = robustness.rank_correlation(table, "x", "y", QUICK)
    assert estimate.value == pytest.approx(1) and estimate.n_speakers == CLIPS - 1
