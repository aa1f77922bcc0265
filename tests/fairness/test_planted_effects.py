"""The worst finding is found and said; what was planted is known exactly and found within its interval."""

import numpy as np
import pandas as pd
import pytest

from s2f.fairness import audit, planted_effects
from s2f.fairness.audit import Metric
from s2f.fairness.planted_effects import Confound, Plant
from s2f.metrics.bootstrap import Resampling
from s2f.study.paths import UserError
from s2f.synthetic import people

QUICK = Resampling(seed=4, replicates=500)
SHARES = {"G1": 0.5, "G2": 0.22, "G3": 0.16, "G4": 0.12}


def table(rng, planted):
    """An error (years) that is larger in group b by `planted`, and hits that say nothing; 80 speakers, 2 clips each."""
    group = pd.DataFrame({"half": np.repeat(["a", "b"], 80), "sex": np.repeat(np.tile(["F", "M"], 40), 2)})
    years = 8 + planted * (group["half"] == "b") + rng.standard_normal(160)
    metrics = {"hits": Metric(rng.random(160) < 0.5, share=True), "error (years)": Metric(years, error=True)}
    return audit.by_group(metrics, group, np.arange(160) // 2, QUICK, permutations=199)


def test_the_worst_group_is_named_with_its_numbers(rng):
    found = planted_effects.worst(table(rng, 3.0))
    assert (found["metric"], found["attribute"], found["group"]) == ("error (years)", "half", "b")
    assert found["low"] < 11 < found["high"] and found["rest"] == pytest.approx(8, abs=0.5)
    assert (found["n_speakers"], found["n_rest"], found["comparisons"], found["p_adj"]) == (40, 40, 8, 0.005)
    assert found["sentence"].startswith("Served worst, by half: b (n = 40 speakers). Error (years): ")
    assert f"[{found['low']:.3g}, {found['high']:.3g}]" in found["sentence"] and "p = 0.005" in found["sentence"]
    assert found["sentence"].endswith(f"a difference of {found['mdd80_adj']:.2g} would be found in 80 of 100 studies.")


def test_a_better_group_is_not_the_worst(rng):
    assert planted_effects.worst(table(rng, -3.0))["group"] == "a"


def test_luck_is_said_to_be_luck(rng):
    assert planted_effects.worst(table(rng, 0.0))["sentence"].startswith("Nobody is served worse beyond luck")
    small = audit.disaggregate(np.ones(2), pd.DataFrame({"sex": ["F", "M"]}), np.arange(2), QUICK, metric="hit")
    assert planted_effects.worst(small) == {"sentence": "No two groups have enough speakers to be compared."}


def test_the_nested_table_has_the_numbers_of_the_table(rng):
    found = table(rng, 3.0)
    tree = planted_effects.nested(found)
    row = found.set_index(["metric", "attribute", "group"]).loc["error (years)", "half", "b"]
    assert tree["error (years)"]["half"]["b"]["value"] == row["estimate"]
    assert set(tree["hits"]["sex"]) == {"F", "M", "gap", "ratio", "worst"}
    assert "suppressed_reason" not in tree["hits"]["sex"]["F"]


def joint(confound):
    return people.language_given_group(confound).mul(pd.Series(SHARES), axis=0)


def test_what_follows_from_the_confound_is_what_a_large_sample_shows():
    home = people.language_given_group(1.0) > 0
    exact = Confound.of(joint(0.7), home)
    crowd = people.sample(20_000, split="test", seed=3, strength=1.0, confound=0.7, shares=SHARES)
    named = crowd["language"].map(exact.likeliest)
    right, foreign = named == crowd["group"], crowd["mismatched"]
    assert exact.own_language == pytest.approx(0.7 + 0.3 * (0.62 / 3 + 0.38 / 6))
    # Standard deviations of shares of 20,000 are at most .0035: four of them.
    assert 1 - foreign.mean() == pytest.approx(exact.own_language, abs=0.014)
    for group, share in exact.named.items():
        assert (named == group).mean() == pytest.approx(share, abs=0.014)
    assert exact.right_gap == pytest.approx(-1) and planted_effects.gap(right, foreign) == -1
    assert exact.shares == pytest.approx(SHARES)


def test_without_a_confound_the_likeliest_group_is_always_the_largest():
    exact = Confound.of(joint(0.0), people.language_given_group(1.0) > 0)
    assert exact.named == {"G1": pytest.approx(1), "G2": 0, "G3": 0, "G4": 0}
    assert np.isnan(Confound.of(joint(1.0), people.language_given_group(1.0) > 0).right_gap)
    with pytest.raises(UserError, match="must sum to 1"):
        Confound.of(people.language_given_group(0.5), people.language_given_group(1.0) > 0)


def test_what_was_planted_is_found_and_what_was_not_is_missed(rng):
    speakers, inside = np.repeat(np.arange(300), 2), np.repeat(rng.random(300) < 0.3, 2)
    hits = (rng.random(600) < np.where(inside, 0.5, 0.8)).astype(float)
    plants = {
        "gap": Plant(-0.3, hits, speakers, inside),
        "share": Plant(0.3, inside, speakers),
        "wrong": Plant(0.1, hits, speakers, inside),
        "certain": Plant(0.999, np.ones(600), speakers),
    }
    found = planted_effects.planted(plants, QUICK).set_index("planted")
    assert found["holds"].tolist() == [True, True, False, True]
    alone = planted_effects.planted({"gap": plants["gap"]}, QUICK).set_index("planted").loc["gap"]
    assert found.loc["gap", "low"] < alone["low"] < alone["value"] < alone["high"] < found.loc["gap", "high"]


def test_the_model_is_charged_only_with_what_the_best_observer_does_not_do(rng):
    speakers, inside = np.arange(400), rng.random(400) < 0.3
    best = (rng.random(400) < np.where(inside, 0.6, 0.9)).astype(float)
    model = best * (rng.random(400) < np.where(inside, 0.5, 1.0))
    same = Plant(-0.3, best, speakers, inside, best)
    plants = {"worse": same._replace(model=model), "same": same, "no model": same._replace(model=None)}
    found = planted_effects.against_best(plants, QUICK)
    worse, equal = found.to_dict("records")
    assert worse["low"] < -0.3 < worse["high"] < 0  # it halves .6
    assert worse["value"] == pytest.approx(worse["model"] - worse["best"])
    assert equal["value"] == equal["low"] == equal["high"] == 0


def test_matches_are_won_within_crowds():
    crowd = pd.DataFrame({"voice": [0.0, 5.0, 9.0, 0.0, 9.0, 5.0], "face": [0.1, 5.2, 9.1, 8.0, 0.0, 5.0]})

    def scores(part):
        return -np.abs(part["voice"].to_numpy()[:, None] - part["face"].to_numpy())

    assert planted_effects.matches_won(crowd, scores, 3).tolist() == [1, 1, 1, 0, 0, 1]


def test_the_plants_of_a_world_are_found_in_its_speakers(rng):
    home = people.language_given_group(1.0) > 0
    trained, tested = (Confound.of(joint(confound), home) for confound in (0.9, 0.7))
    options = {"strength": 1.0, "shares": SHARES}
    voiced = people.sample(600, split="train", seed=1, confound=0.9, **options).set_index("speaker_id")
    about = people.sample(400, split="test", seed=1, confound=0.7, **options)
    crowd = people.sample(4000, split="test", seed=2, confound=0.7, **options)

    def heard(who):
        return who.assign(wins=np.where(who["mismatched"], 0.6, 0.9) + 0.05 * rng.standard_normal(len(who)))

    about, crowd = heard(about), heard(crowd)
    model = pd.DataFrame({"wins": about["wins"] - 0.1 * about["mismatched"], "group": "G1"})
    plants = planted_effects.plants(trained, tested, voiced, crowd, about, model)
    found = planted_effects.planted(plants, QUICK).set_index("planted")
    assert found["holds"].all() and len(found) == 10
    added = planted_effects.against_best(plants, QUICK).set_index("planted")
    assert added.loc["matching_by_speech", "value"] == pytest.approx(-0.1)
    assert added.loc["painted_smallest", "model"] == 0  # everybody is painted as the largest group


def test_a_gap_to_nobody_is_left_out(rng):
    home = people.language_given_group(1.0) > 0
    always = Confound.of(joint(1.0), home)
    about = people.sample(60, split="test", seed=1, confound=1.0, strength=1.0, shares=SHARES).assign(wins=0.9)
    model = pd.DataFrame({"wins": about["wins"], "group": about["group"]})
    found = planted_effects.plants(always, always, about.set_index("speaker_id"), about, about, model)
    assert "right_group_by_speech" not in found and "matching_by_speech" not in found
    assert planted_effects.planted(found, QUICK)["holds"].all()
