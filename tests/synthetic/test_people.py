"""The causal model: what is linked is linked as strongly as documented, what is not linked is not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2f.study import config
from s2f.study.paths import UserError
from s2f.synthetic import people
from s2f.synthetic.head import PARAMETERS

SHARES = {"G1": 0.5, "G2": 0.22, "G3": 0.16, "G4": 0.12}
N = 6000
ERROR = 4 / np.sqrt(N / 2)  # four standard errors of a correlation within one sex


def draw(n=N, split="train", seed=0, strength=1.0, confound=0.9, shares=SHARES):
    return people.sample(n, split=split, seed=seed, strength=strength, confound=confound, shares=shares)


def within_sex(table, a, b):
    """Correlation of two columns with the means of the sexes (and, roughly, age) taken out."""
    rest = table[[a, b]].astype(float)
    rest = rest - rest.groupby([table["sex"], table["age"] // 5]).transform("mean")
    return rest.corr().iloc[0, 1]


def test_one_seed_gives_one_population_and_another_seed_another():
    pd.testing.assert_frame_equal(draw(50), draw(50))
    assert not draw(50)["f0_hz"].equals(draw(50, seed=1)["f0_hz"])
    assert not draw(50)["f0_hz"].equals(draw(50, split="test")["f0_hz"])


@pytest.mark.parametrize("strength", [0.0, 1.0, 2.5])
def test_links_have_the_documented_strength(strength):
    table = draw(strength=strength)
    for voice, cause, sign, measure in (
        ("true_z_vtl", "size", 1, "face_h"),
        ("true_z_f0", "robustness", 1, "jaw_w"),
    ):
        trait = voice.rsplit("_", 1)[1]
        planned = (
            sign
            * people.scaled(people.VOICE_LOADING[trait], strength)
            * people.scaled(people.FACE_LOADING[cause][measure], strength)
        )
        assert within_sex(table, voice, f"true_z_{measure}") == pytest.approx(planned, abs=ERROR)


def test_published_strength_is_about_a_fifth():
    table = draw(strength=1.0)
    assert 0.15 < within_sex(table, "vtl_cm", "face_face_h") < 0.32


@pytest.mark.parametrize("control", ["glasses", "face_melanin", "face_hair_red", "face_icd", "face_eye_w", "face_fat"])
def test_controls_are_independent_of_every_voice_trait(control):
    table = draw(strength=2.5)
    for trait in ("f0_hz", "vtl_cm", "vocal_age", "wpm"):
        assert abs(within_sex(table, trait, control)) < ERROR


def test_in_the_null_world_only_sex_and_age_are_shared():
    table = draw(strength=0.0, confound=0.0)
    for face in ("face_face_h", "face_jaw_w", "face_nose_w", "face_ita"):
        for voice in ("f0_hz", "vtl_cm", "wpm"):
            assert abs(within_sex(table, voice, face)) < ERROR
    counts = pd.crosstab(table["language"], table["group"], normalize="columns")
    assert counts.sub(counts.mean(axis=1), axis=0).abs().to_numpy().max() < 4 * np.sqrt(0.25 / (N * 0.12))


def test_shares_and_language_confound_are_as_asked():
    table = draw(confound=0.9)
    for group, share in SHARES.items():
        assert (table["group"] == group).mean() == pytest.approx(share, abs=4 * np.sqrt(share / N))
    planned = sum(
        share * 0.1 * (1 - len(people.HOME_LANGUAGES[group]) / len(people.LANGUAGES)) for group, share in SHARES.items()
    )
    assert table["mismatched"].mean() == pytest.approx(planned, abs=4 * np.sqrt(planned / N))


@given(st.floats(0, 1))
def test_languages_of_a_group_are_a_distribution(confound):
    assert np.allclose(people.language_given_group(confound).sum(axis=1), 1)


@given(st.floats(-0.95, 0.95), st.floats(0, 10))
def test_scaling_a_loading(loading, strength):
    scaled = people.scaled(loading, strength)
    assert people.scaled(loading, 1.0) == pytest.approx(loading) and people.scaled(loading, 0.0) == 0
    assert abs(scaled) < 1 and scaled * loading >= 0


def test_bands_cover_every_age():
    ages = np.array([18, 34.99, 35, 49.9, 50, 64.9, 65, 80])
    assert people.age_band(ages).tolist() == [
        "18-34",
        "18-34",
        "35-49",
        "35-49",
        "50-64",
        "50-64",
        "65-80",
        "65-80",
    ]


def test_bad_shares_are_refused():
    with pytest.raises(UserError, match="sum to 1"):
        draw(10, shares={"G1": 1.0})


def test_a_world_has_its_splits_and_unlinked_people_for_the_face_model():
    world = config.load(config.World, Path(__file__).parents[2] / "params.yaml")
    small = world.model_copy(
        update={"train_speakers": 30, "val_speakers": 10, "test_speakers": 20, "face_identities": 2000}
    )
    table = people.everybody(small)
    assert table["split"].value_counts().to_dict() == {"face": 2000, "train": 30, "test": 20, "val": 10}
    assert not table["speaker_id"].duplicated().any()
    face = table[table["split"] == "face"]
    assert abs(within_sex(face, "true_z_vtl", "true_z_face_h")) < 4 / np.sqrt(1000)
    assert face["group"].value_counts(normalize=True).to_numpy() == pytest.approx(0.25, abs=0.05)


def test_controls_split_in_halves_and_keep_the_rows():
    table = draw(40).sample(40, random_state=0)
    photos = pd.DataFrame({"bg0": np.linspace(0, 1, 40), "lx": np.linspace(-1, 1, 40)})
    found = people.controls(table, photos)
    assert (found.drop(columns="glasses").sum() == 20).all()
    assert found["glasses"].tolist() == table["glasses"].tolist()
    assert found["bright background"].tolist() == [0] * 20 + [1] * 20


def test_summary_and_links_say_what_was_drawn():
    table = draw(600)
    assert people.summary(table).loc["train", "speakers"] == 600
    found = people.links(table, ["face_face_h", "face_icd"])
    assert found.loc["vtl_cm", "face_face_h"] == pytest.approx(within_sex(table, "vtl_cm", "face_face_h"))


def test_identity_is_what_the_renderer_takes():
    assert set(people.identity(draw(3))) == set(PARAMETERS)
