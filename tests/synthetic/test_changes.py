"""Takes differ in what their arm changes, and in nothing else."""

import numpy as np
import pandas as pd
import pytest

from s2f.signal.landmarks import MEASURES
from s2f.study.config import World
from s2f.study.paths import UserError
from s2f.synthetic import changes, people, speech

LINKED = {"strength": 2.5, "confound": 0.9}


@pytest.fixture(scope="module")
def table():
    return people.sample(40, split="test", seed=1, **LINKED)


@pytest.fixture(scope="module")
def made(table):
    return changes.plan(changes.cast(table, "test", 4), changes.arms([-30.0, 0.0, 5.0], [0.0, 10.0]), seed=7)


def test_as_many_women_as_men_and_too_few_are_refused(table):
    assert changes.cast(table, "test", 10)["sex"].value_counts().to_dict() == {"F": 5, "M": 5}
    with pytest.raises(UserError, match="too few women or men for 80 speakers"):
        changes.cast(table, "test", 80)


def test_a_take_is_the_person_but_for_its_dose(table, made):
    planned, voices = made
    own = speech.voice_of(table.set_index("speaker_id", drop=False).loc[planned["speaker_id"][0]])
    arms = dict(zip(planned["arm"][planned["person"] == 0], voices, strict=False))
    assert arms["pitch +0, tract +0"] == own
    changed = {"f0_hz": pytest.approx(own.f0_hz * 2 ** (5 / 12)), "vtl_cm": pytest.approx(own.vtl_cm * 1.1)}
    assert vars(arms["pitch +5, tract +10"]) == vars(own) | changed
    assert vars(arms["10 dB more noise"]) == vars(own) | {"snr_db": own.snr_db - 10}
    assert vars(arms["10 % faster"]) == vars(own) | {"wpm": pytest.approx(1.1 * own.wpm)}


def test_only_the_sham_of_sentences_has_a_seed_of_its_own(made):
    mine = made[0][made[0]["person"] == 1]
    other = mine["arm"] == "other sentences"
    assert mine.loc[~other, "take_seed"].nunique() == 1
    assert not mine.loc[other, "take_seed"].isin(made[0].loc[made[0]["arm"] != "other sentences", "take_seed"]).any()


def test_a_dose_out_of_range_is_cut_and_says_what_was_done(made):
    deep = made[0][made[0]["semitones"] == -30]
    assert (deep["f0_hz"] == speech.RANGES["f0_hz"][0]).all() and (deep["pitch"] > -30).all()
    ordinary = made[0][made[0]["semitones"] == 5]
    np.testing.assert_allclose(ordinary["pitch"], 5)


def test_the_axes_hold_one_dose_alone_and_no_sham(made):
    on = changes.along(made[0])
    assert on.groupby("axis")["dose"].unique().map(sorted).to_dict() == {"pitch": [-30, 0, 5], "tract": [0, 10]}
    assert len(on) == 4 * (3 + 2)
    men_up = on.query("axis == 'pitch' and sex == 'M' and dose == 5")
    women_longer = on.query("axis == 'tract' and sex == 'F' and dose == 10")
    assert (men_up["towards"] == 5).all() and (women_longer["towards"] == 10).all()


def test_the_world_expects_a_man_of_a_deep_voice_with_a_long_tract(table):
    shares = dict.fromkeys(people.GROUPS, 0.25)
    world = World.model_construct(strength=2.5, confound_test=0.9, group_shares=shares, size=64)
    voice = table.iloc[[0, 0]].assign(sex="M", f0_hz=[100.0, 230.0], vtl_cm=[17.5, 13.5]).reset_index(drop=True)
    found = changes.expectation(voice, world, 500, seed=3)
    assert found["male"][0] > 0.99 and found["male"][1] < 0.01 and list(found["flipped"]) == [False, True]
    assert found["jaw_width"][0] > found["jaw_width"][1] and set(MEASURES) < set(found)


def test_recordings_stand_in_the_order_of_the_plan(table):
    cast = changes.cast(table, "test", 2)
    planned, waves = changes.record(cast, {"as is": {}, "again": {}, "faster": {"tempo_percent": 10.0}}, 1.0, 7, 1)
    assert waves.shape == (len(planned), 16_000)
    np.testing.assert_array_equal(waves[0], waves[1])
    assert (waves[0] != waves[2]).any() and isinstance(planned, pd.DataFrame)
