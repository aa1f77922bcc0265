"""A speaker heard again: angles, variances and shifts by their definitions, or planted and found again."""

import numpy as np
import pandas as pd
import pytest

from s2f.metrics import bootstrap, consistency
from s2f.metrics.likelihood_ratio import LikelihoodRatio
from s2f.study.paths import UserError

QUICK = bootstrap.Resampling(seed=2, replicates=300)
DIM = 5
HOME = {"en": "A", "de": "A", "hi": "B"}
NATIVE = {"A": "en", "B": "hi"}


def nested(rng, spreads, shape=(300, 3, 4), dim=8):
    """Segments that vary between speakers, between recordings, and between segments, with these spreads."""
    levels = (shape[0], 1, 1), (*shape[:2], 1), shape
    return sum(spread * rng.normal(size=(*level, dim)) for spread, level in zip(spreads, levels, strict=True))


def angle(a, b):
    return np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))


# Segments


def test_segment_angles_equal_their_definitions(rng):
    features = rng.normal(size=(3, 2, 3, DIM))
    found = consistency.segment_angles(features)
    sums = {name: [] for name in found}
    places = list(np.ndindex(features.shape[:3]))
    for here in places:
        angles = {name: [] for name in found}
        for there in places:
            if there != here:
                kind = "other_speakers" if there[0] != here[0] else "same_speaker"
                kind = "same_recording" if there[:2] == here[:2] else kind
                angles[kind].append(angle(features[here], features[there]))
        for name, values in angles.items():
            sums[name].append(np.mean(values))
    for name, values in found.items():
        np.testing.assert_allclose(values, sums[name])


def test_shares_of_variance_are_found_again(rng):
    found = consistency.segment_consistency(nested(rng, (1.0, 0.6, 0.8)), QUICK)["intraclass"]
    total = 1 + 0.36 + 0.64
    assert found["recordings"]["low"] < 1 / total < found["recordings"]["high"]
    assert found["segments"]["low"] < 1.36 / total < found["segments"]["high"]


def test_segments_of_nobody_have_nothing_in_common(rng):
    found = consistency.segment_consistency(nested(rng, (0, 0, 1), shape=(100, 2, 3)), QUICK)
    assert found["intraclass"]["segments"]["low"] < 0 < found["intraclass"]["segments"]["high"]
    assert found["degrees"]["same_recording"]["value"] == pytest.approx(90, abs=3)
    one_face = consistency.segment_consistency(np.ones((5, 2, 2, 3)), QUICK)
    assert one_face["intraclass"]["recordings"]["value"] == 0
    with pytest.raises(UserError, match="give two of each"):
        consistency.segment_angles(np.ones((5, 2, 1, 3)))


# Languages


def means():
    """Group B lies two units from A along the first axis."""
    return pd.DataFrame(np.eye(2, DIM)[0] * np.array([[0.0], [2.0]]) + 1.0, index=["A", "B"])


def recordings(n_speakers=40, takes=2):
    rows = [
        {"speaker_id": f"s{i:03d}", "group": "AB"[i % 2], "language": language, "home": HOME[language]}
        for i in range(n_speakers)
        for language in HOME
        for _ in range(takes)
    ]
    return pd.DataFrame(rows)


def spoken(clips, shift, rng, noise=0.1):
    """Predicted features: the mean of the own group, moved by a part of the way to the group of the language."""
    own, other = (means().loc[clips[name]].to_numpy() for name in ("group", "home"))
    return own + shift * (other - own) + noise * rng.normal(size=own.shape)


def test_positions_are_0_at_the_own_and_1_at_the_other_group():
    at = means().loc[["A", "B", "A"]].to_numpy() + [[0], [0], [1]] * np.eye(DIM)[0]
    at[2, 1] += 7  # half the way, and away from the line
    places = consistency.positions(at, np.array(["A", "A", "A"]), means())
    assert places["B"].tolist() == [0, 1, 0.5] and places["A"].isna().all()
    with pytest.raises(UserError, match="group 'C'"):
        consistency.positions(at, np.array(["A", "B", "C"]), means())


def test_a_planted_shift_is_found_and_another_own_language_moves_nobody(rng):
    clips = recordings()
    features = spoken(clips, 0.6, rng)
    shifts = consistency.language_shifts(clips, features, means(), NATIVE)
    assert len(shifts) == 40 * 2  # every speaker, the two languages that are not the group's first
    table = consistency.by_language(shifts, shifts.assign(shift=0.7), QUICK).set_index(["kind", "language"])
    found = table.loc[("other_group", "any")]
    assert found.low < 0.6 < found.high and found.high - found.low < 0.1
    assert found.expected == pytest.approx(0.7) and found.n_speakers == 40
    assert abs(table.loc[("own_group", "de")].value) < 0.05
    assert set(table.index) == {("own_group", "de")} | {("other_group", x) for x in ("any", "en", "de", "hi")}


def test_shifts_are_paired_within_speakers():
    """A speaker who is far from the group's mean in every language has not moved."""
    clips = recordings(2)
    features = spoken(clips, 0.0, np.random.default_rng(1), noise=0.0)
    features[(clips["speaker_id"] == "s000").to_numpy(), 0] += 1.3
    shifts = consistency.language_shifts(clips, features, means(), NATIVE)
    np.testing.assert_allclose(shifts["shift"], 0, atol=1e-12)
    with pytest.raises(UserError, match="s000 is not heard in the first language"):
        silent = clips[clips["language"] != "en"]
        consistency.language_shifts(silent, features[silent.index], means(), NATIVE)


def test_the_noise_of_takes_is_found_again(rng):
    clips = recordings(200)
    noise = consistency.take_noise(clips, spoken(clips, 0.5, rng, noise=0.3), means(), QUICK)
    assert noise.low < 0.3 / 2 < noise.high  # in units of the distance of the groups
    with pytest.raises(UserError, match="twice in a language"):
        once = recordings(takes=1)
        consistency.take_noise(once, spoken(once, 0.5, rng), means(), QUICK)


def test_the_shift_of_other_people_who_speak_another_language(rng):
    clips = recordings(400, takes=1)
    clips = clips[clips.index % 3 == rng.integers(0, 3, 400).repeat(3)]  # each speaker in one language only
    shift = consistency.mismatch_shift(clips, spoken(clips, 0.6, rng), means(), QUICK)
    assert shift.low < 0.6 < shift.high and shift.n_speakers == len(clips)
    at_home = clips[clips["group"] == clips["home"]]
    with pytest.raises(UserError, match="another group's language"):
        consistency.mismatch_shift(at_home, spoken(at_home, 0.6, rng), means(), QUICK)


def test_drawn_groups_are_shares_of_those_in_each_case():
    clips = recordings(40, takes=1)
    by_language = consistency.drawn_groups(clips, clips["home"], QUICK)
    by_face = consistency.drawn_groups(clips, clips["group"], QUICK)
    shares = {name: (by_language[name]["value"], by_face[name]["value"]) for name in by_language}
    assert shares == {
        "own_language_own_group": (1, 1),
        "other_language_own_group": (0, 1),
        "other_language_its_group": (1, 0),
    }


# Several clips


def test_more_clips_lead_nearer_to_the_face(rng):
    faces = rng.normal(size=(60, DIM))
    heard = faces[:40, None] + 1.5 * rng.normal(size=(40, 8, DIM))
    arguments = {"metric": "l2", "resampling": QUICK, "items": 5, "size": 60}
    table = consistency.fused_recall(heard, faces, np.arange(40), [1, 2, 8], **arguments)
    mean = table[table["rule"] == "mean"].set_index("clips")
    assert mean["value"].is_monotonic_increasing and mean.loc[8, "gain_low"] > 0
    plain = [
        np.argsort(np.square(heard[i, j : j + 2].mean(axis=0) - faces).sum(axis=1)).tolist().index(i) < 5
        for i in range(40)
        for j in range(0, 8, 2)
    ]
    assert mean.loc[2, "value"] == pytest.approx(np.mean(plain))
    single = table[table["clips"] == 1]
    assert (single["gain"] == 0).all() and single["value"].nunique() == 1
    assert set(table["rule"]) == set(consistency.FUSIONS)
    with pytest.raises(UserError, match="9 clips cannot be fused where there are 8"):
        consistency.fused_recall(heard, faces, np.arange(40), [9], **arguments)


def test_summed_likelihood_ratios_rank_as_the_mean_feature(rng):
    faces = rng.normal(size=(200, DIM))
    heard = faces[:, None] + rng.normal(size=(200, 4, DIM))
    score = LikelihoodRatio.fit(heard[:, 0], faces, dims=DIM)
    summed = sum(score(heard[:, clip], faces) for clip in range(4))
    of_mean = score(heard.mean(axis=1), faces)
    assert (np.argsort(summed, axis=1) == np.argsort(of_mean, axis=1)).all()


def test_a_robust_rule_withstands_a_clip_gone_wrong(rng):
    faces = rng.normal(size=(50, DIM))
    heard = faces[:, None] + 0.1 * rng.normal(size=(50, 4, DIM))
    heard[:, 2] += 20 * rng.normal(size=(50, DIM))
    table = consistency.fused_recall(heard, faces, np.arange(50), [4], "l2", QUICK, items=1, size=50)
    rules = table.set_index("rule")
    assert rules.loc["median", "beyond_mean_low"] > 0
    assert rules.loc["mean", "beyond_mean"] == 0


def test_segments_lie_side_by_side_in_their_clips():
    clips = pd.DataFrame({"speaker_id": list("aab"), "audio_offset": [0, 70_000, 140_000], "audio_samples": 70_000})
    parts = consistency.segments(clips, 2.0)
    assert parts["audio_offset"].tolist() == [0, 32_000, 70_000, 102_000, 140_000, 172_000]
    assert (parts["audio_samples"] == 32_000).all()
    assert parts["segment"].tolist() == [
        f"recording {i}, part {j}" for i, j in ((1, 1), (1, 2), (2, 1), (2, 2), (1, 1), (1, 2))
    ]
    with pytest.raises(UserError, match="shorter than 5 s"):
        consistency.segments(clips, 5.0)


def test_speakers_with_several_long_recordings_are_compared_over_as_many_of_each():
    samples = [70_000, 70_000, 70_000, 70_000, 70_000, 70_000, 10_000]
    clips = pd.DataFrame({"speaker_id": list("aaabbcc"), "audio_samples": samples})
    assert consistency.several_recordings(clips, 2.0).index.tolist() == [0, 1, 3, 4]
    assert consistency.several_recordings(clips).index.tolist() == [0, 1, 3, 4, 5, 6]
    assert consistency.several_recordings(clips.iloc[[0, 3]]).empty
