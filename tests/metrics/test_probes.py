"""Probes find what is there, and nothing where nothing is."""

import numpy as np
import pandas as pd
import pytest

from s2f.metrics import bootstrap, probes
from s2f.study.paths import UserError

QUICK = bootstrap.Resampling(seed=2, replicates=300)


def clips_of(n_speakers, clips, rng, dim=6, noise=0.5):
    """Features that are a speaker's own plus the noise of each clip."""
    speakers = np.repeat(np.arange(n_speakers), clips)
    own = rng.normal(size=(n_speakers, dim))
    return own[speakers] + noise * rng.normal(size=(len(speakers), dim)), own[speakers], speakers


def probe_world(rng, n_speakers=200):
    features, own, speakers = clips_of(n_speakers, 2, rng, dim=10)
    labels = pd.DataFrame(
        {
            "glasses": rng.random(n_speakers)[speakers] < 0.4,
            "hair_red": rng.normal(size=n_speakers)[speakers],
            "sex": np.where(own[:, 0] > 0, "F", "M"),
            "size": own[:, 1],
        }
    )
    return features, labels, speakers, speakers < n_speakers // 2


def test_probes_find_what_is_there_and_only_that(rng):
    features, labels, speakers, train = probe_world(rng)
    found = probes.negative_controls(features, labels, speakers, train, QUICK).set_index("control")
    assert list(found.metric) == ["auc", "r", "auc", "r"]
    assert list(found.at_chance) == [True, True, False, False]
    assert found.value["sex"] > 0.9 and found.value["size"] > 0.8


def test_a_control_that_goes_with_sex_is_at_chance_within_sex(rng):
    features, labels, speakers, train = probe_world(rng, 400)
    likely = np.where(labels.sex == "F", 0.8, 0.2)
    beard = pd.DataFrame({"beard": rng.random(400)[speakers] < likely, "brow": 2 * likely + labels.hair_red})
    alone = probes.negative_controls(features, beard, speakers, train, QUICK)
    within = probes.negative_controls(features, beard, speakers, train, QUICK, strata=labels["sex"])
    assert not alone.at_chance.any() and within.at_chance.all()


def test_probes_of_one_face_for_everybody_are_exactly_at_chance(rng):
    _, labels, speakers, train = probe_world(rng)
    found = probes.negative_controls(np.full((400, 3), 0.1), labels, speakers, train, QUICK)
    assert (found["value"] == found["chance"]).all()


def test_probes_refuse_a_shared_speaker_and_many_labels(rng):
    features, labels, speakers, train = probe_world(rng)
    with pytest.raises(UserError, match="Speaker 0 is on both sides"):
        probes.negative_controls(features, labels, speakers, np.arange(400) % 2 == 0, QUICK)
    background = pd.DataFrame({"background": rng.choice(["a", "b", "c"], 400)})
    with pytest.raises(UserError, match="background has 3 labels"):
        probes.negative_controls(features, background, speakers, train, QUICK)


def experiment(rng, n=60, doses=(-2.0, -1.0, 0.0, 1.0, 2.0), slope=0.3, noise=0.2):
    """Responses of speakers with levels of their own, moved by `slope` a dose."""
    speakers, dose = (part.ravel() for part in np.meshgrid(np.arange(n), doses, indexing="ij"))
    level = 5 * rng.normal(size=n)
    return speakers, dose, level[speakers] + slope * dose + noise * rng.normal(size=len(speakers))


def test_the_slope_within_speakers_is_that_of_a_line_with_a_level_for_each(rng):
    speakers, dose, y = experiment(rng)
    dose = dose + 0.3 * rng.normal(size=len(dose))  # doses that differ between speakers
    found = probes.within_slope(dose, y, speakers, QUICK)
    design = np.column_stack([dose, np.eye(60)[speakers]])
    assert found.value == pytest.approx(np.linalg.lstsq(design, y)[0][0])
    assert found.low < 0.3 < found.high


def test_slopes_find_what_was_planted_and_nothing_in_shuffled_doses(rng):
    speakers, dose, y = experiment(rng)
    _, _, still = experiment(rng, slope=0.0)
    responses = pd.DataFrame({"moved": y, "still": still})
    world = pd.DataFrame({"moved": 0.5 * dose, "still": 0 * dose})
    axes = np.full(len(dose), "pitch")
    table = probes.dose_slopes(axes, dose, responses, speakers, QUICK, world).set_index("response")
    assert list(table.moves) == [True, False]
    assert table.low["moved"] < 0.3 < table.high["moved"]
    assert list(table.world) == pytest.approx([0.5, 0.0])
    shuffled = rng.permuted(dose.reshape(60, 5), axis=1).ravel()
    assert not probes.dose_slopes(axes, shuffled, responses, speakers, QUICK).moves.any()


def test_the_intervals_of_an_axis_hold_together(rng):
    speakers, dose, y = experiment(rng)
    axes, names = np.full(len(dose), "pitch"), [f"r{i}" for i in range(13)]
    many = probes.dose_slopes(axes, dose, pd.DataFrame({name: y for name in names}), speakers, QUICK)
    alone = probes.within_slope(dose, y, speakers, QUICK)
    assert (many.low < alone.low).all() and (many.high > alone.high).all()


def test_a_face_that_moves_half_as_much_as_the_world_follows_it_by_half(rng):
    speakers, dose, _ = experiment(rng)
    world = pd.DataFrame({"up": dose, "down": -2 * dose})
    axes = np.where(dose >= 0, "pitch", "tract")
    found = probes.followed(axes, 0.5 * world + 7, world, speakers, QUICK)
    assert list(found.axis) == ["pitch", "tract"] and list(found.value) == pytest.approx([0.5, 0.5])


def test_a_curve_has_the_means_of_each_dose_and_kind(rng):
    speakers, dose, y = experiment(rng)
    by = pd.DataFrame({"sex": np.where(speakers % 2, "F", "M"), "dose": dose})
    found = probes.dose_curve(by, y, speakers, QUICK, world=2 * y)
    expected = pd.Series(y).groupby([by["sex"], by["dose"]]).mean()
    assert list(found.value) == pytest.approx(list(expected)) and list(found.world) == pytest.approx(list(2 * expected))
    assert list(zip(found.sex, found.dose, strict=True)) == list(expected.index)
    shares = probes.dose_curve(by[["dose"]], y * 0 + 1, speakers, QUICK, share=True)
    assert (shares.high == 1).all() and (shares.low < 1).all()


def test_a_curve_crosses_where_its_line_does_or_is_bounded(rng):
    speakers, dose, _ = experiment(rng)
    share = {-2.0: 0.0, -1.0: 0.0, 0.0: 0.2, 1.0: 0.6, 2.0: 1.0}
    flipped = pd.Series(dose).map(share).to_numpy() > (speakers + 0.5) / 60
    by = pd.DataFrame({"axis": np.full(len(dose), "pitch")})

    def at(level):
        return probes.crossings(by, dose, flipped, level, speakers, QUICK).iloc[0]

    assert at(0.5).value == pytest.approx(0.75) and at(0.5).low < 0.75 < at(0.5).high and at(0.5).reached
    assert at(0.0).value == -2
    never = probes.crossings(by, dose, 0 * dose, 0.5, speakers, QUICK).iloc[0]
    assert never.value == 2 and not never.reached
    with pytest.raises(UserError, match="misses one of the doses"):
        probes.crossings(by[1:], dose[1:], flipped[1:], 0.5, speakers[1:], QUICK)


def test_conditions_are_paired_with_the_sham(rng):
    speakers, dose, y = experiment(rng, doses=(0.0, 1.0), noise=0.0)
    conditions = np.where(dose == 1, "pitch", "sham")
    found = probes.beside_sham(conditions, y, speakers, "sham", QUICK).set_index("condition")
    assert found.loc["pitch", ["difference", "difference_low", "difference_high"]].tolist() == pytest.approx([0.3] * 3)
    assert found.difference["sham"] == 0
    with pytest.raises(UserError, match="no condition 'rest'"):
        probes.beside_sham(conditions, y, speakers, "rest", QUICK)
    with pytest.raises(UserError, match="misses one of the conditions"):
        probes.beside_sham(conditions[1:], y[1:], speakers[1:], "sham", QUICK)


def test_thirds_are_cut_within_the_stratum():
    trait, sex = np.array([100.0, 120.0, 110.0, 200.0, 220.0, 210.0]), np.repeat(["M", "F"], 3)
    assert probes.thirds(trait, sex).tolist() == [1, 3, 2, 1, 3, 2]
