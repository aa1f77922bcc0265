"""What the original's outputs show, on samples with planted features."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from published_samples import samples

from s2f.data.sources import published
from s2f.heads import ridge
from s2f.metrics import bootstrap, paired
from s2f.plots import arms, style
from s2f.published import apparent_traits, assistants, original

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


def test_celebrities_are_matched_within_their_annotated_ethnicity_too(rng):
    sample = samples(rng, mean=True)
    ethnicity = np.where(sample.clips["person"] % 2 == 0, "Asian or Pacific", "black")
    stars = replace(sample, clips=sample.clips.assign(sex="F", age_band="20 to 39", ethnicity=ethnicity))
    strata = original.strata(stars)
    assert list(strata) == ["sex", "age_band", "sex_and_age_band", "ethnicity", "sex_and_ethnicity"]
    assert set(strata["sex_and_ethnicity"]) == {"F Asian or Pacific", "F black"}


def test_labels_of_few_people_are_put_together():
    labels = pd.DataFrame(
        {"sex": ["F"] * 5 + ["M"] * 5, "ethnicity": ["black"] * 7 + ["Hispanic", "another", "another"]}
    )
    common = original.common(labels, minimum=5)
    assert common["sex"].equals(labels["sex"]) and list(common["ethnicity"]) == ["black"] * 7 + ["others"] * 3


def test_assistants_stand_beside_people(rng):
    """Voices from which age can be read off: the regression predicts it for products, and nothing else."""
    people, products = samples(rng, people=80, clips=1), samples(rng, people=3, clips=2, mean=True)
    products = replace(products, clips=products.clips.assign(product=np.repeat(["Alexa", "Google", "Siri"], 2)))
    products.arrays["true.age"] = np.full(6, np.nan)  # they have none
    for sample, age in ((people, people["true.age"]), (products, np.repeat([20.0, 40, 60], 2))):
        sample.arrays.update({f"6s.{block}": age[:, None] for block in published.EMBEDDINGS})
    table = assistants.looks(products, people, ridge.folds(people.who, 4, seed=0), 6)
    rows = table.set_index(["who", "source", "trait"])
    assert set(table["who"]) == {"Alexa", "Google", "Siri", "women", "men"} and set(table["source"]) == {"exg0", "ours"}
    ours = rows["value"].xs("ours", level="source").xs("apparent_age", level="trait")
    assert ours[["Alexa", "Google", "Siri"]].to_numpy() == pytest.approx([20, 40, 60], abs=1)
    drawn = products.arrays["exg0.female"].reshape(3, 2).mean(axis=1)
    assert rows["value"].xs(("exg0", "apparent_sex"), level=("source", "trait"))[
        ["Alexa", "Google", "Siri"]
    ].to_numpy() == (pytest.approx(drawn))
    assert rows.loc[("Siri", "ours", "ita"), "clips"] == 2


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
