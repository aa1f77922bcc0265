"""What the original's outputs show, on samples with planted features."""

import numpy as np
import pandas as pd
import pytest
from published_samples import samples

from s2f.data.sources import published
from s2f.heads import ridge
from s2f.metrics import bootstrap, paired
from s2f.plots import arms, style
from s2f.published import apparent_traits, original

QUICK = bootstrap.Resampling(seed=3, replicates=200)


def test_judges_and_painters(rng):
    label = np.array(["few", "many"])[(rng.random(240) < 0.8).astype(int)]
    marked = (label == "few")[:, None] * np.array([3.0, 0, 0, 0])
    seen, voice = marked + rng.normal(size=(240, 4)), marked / 3 + rng.normal(size=(240, 4))
    fold = ridge.folds(np.arange(240), 4, seed=0)
    faces = {"faithful": marked + rng.normal(size=(240, 4)), "alike": 0.1 * rng.normal(size=(240, 4))}
    labels = pd.DataFrame({"size": label})
    shares, right = apparent_traits.painted(labels, faces, seen, voice, fold, QUICK)
    shares = shares.set_index(["kind", "label"])
    assert shares.at[("faithful", "few"), "ratio"] == pytest.approx(1, abs=0.3)
    assert shares.at[("alike", "few"), "ratio"] == 0 and shares.at[("alike", "few"), "bayes_ratio"] > 0
    right = right.set_index(["kind", "accuracy"])["value"]
    assert right["faithful", "overall"] > 0.85 and 0.75 < right["likeliest", "overall"] < right["faithful", "overall"]


def test_everybody_towards_the_average(rng):
    age, who = rng.uniform(20, 70, 120), np.arange(120)
    table = apparent_traits.towards_average(age, {"half": 25 + age / 2}, who, QUICK, np.repeat(["a", "b"], 60))
    assert table["slope"].to_numpy() == pytest.approx(0.5) and list(table["group"]) == ["overall", "a", "b"]
    assert table["mean_difference"].to_numpy() == pytest.approx((25 - age / 2).mean())


def test_the_original_measured(rng):
    sample = samples(rng)
    fold = ridge.folds(sample.who, 4, seed=0)
    systems = original.systems(sample, fold)
    assert set(systems) == {"exg0", "f2f", "exg0, distance", "f2f, distance"}
    assert paired.ranks(systems["exg0"]).wins.mean() == 1  # half of the true face, without noise
    people = original.people(sample)
    assert set(original.strata(sample)) == {"sex", "age_band", "sex_and_age_band"}
    assert set(people["sex"]) == {"F", "M"} and set(people["age_band"]) <= set(published.AGE_BANDS)
    measures = original.craniofacial(sample, "f2f", original.RATIOS, QUICK, permutations=19)
    assert set(measures["kind"]) == {"exg0"} and set(measures["measure"]) == set(original.RATIOS)
    spread = original.spread(sample, QUICK).set_index(["kind", "what"])["value"]
    assert spread["exg0", "slope"] == pytest.approx(0.5) and spread["exg0", "variance_ratio"] == pytest.approx(0.25)
    assert original.duplicates(sample, near=0.01)["same_person_pairs"] == 40
    assert set(original.tones(sample, QUICK)["what"]) == {"slope", "r", "variance_ratio", "difference"}
    assert original.traits(sample, "f2f").shape == (40, len(original.TRAITS))


def test_figures_say_what_they_show(rng):
    style.use()
    systems = {name: rng.normal(size=(40, 40)) for name in ("original", "ours")}
    table = paired.matching(systems, "original", QUICK)
    figure = arms.compared({"1:2": table}, "original")
    assert figure.axes[0].get_title(loc="left") == "1:2\nn = 40 people"
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["original", "ours"]
    drawn = original.craniofacial(samples(rng), "f2f", original.RATIOS, QUICK, permutations=19)
    figure = arms.correlations({"S2F": drawn[drawn["speakers"] == "all"]}, {"paper": {"nasal_index": 0.4}})
    assert figure.axes[0].get_title(loc="left") == "n = 40 people"
