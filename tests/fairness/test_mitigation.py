"""Remedies: the table against plain means, paired differences, the worst group, and what is too small to be told."""

import numpy as np
import pandas as pd
import pytest

from s2f.fairness.mitigation import remedies
from s2f.metrics import bootstrap
from s2f.study.paths import UserError

SAMPLING = bootstrap.Resampling(seed=4, replicates=400)


@pytest.fixture
def town(rng):
    """Speakers of three groups, one of them tiny, and three seeds of two arms: the remedy helps group b by 0.2."""
    group = np.array(["a"] * 80 + ["b"] * 40 + ["c"] * 3)
    base = np.where(group == "b", 0.5, 0.8) + 0.1 * rng.uniform(-1, 1, (1, len(group)))
    seeds = 0.02 * rng.uniform(-1, 1, (3, len(group)))
    helped = base + seeds + np.where(group == "b", 0.2, -0.05) + 0.02 * rng.uniform(-1, 1, (3, len(group)))
    scores = {"before": base, "as_it_is": base + seeds, "balanced": helped}
    return scores, pd.DataFrame({"group": group}), np.array([f"s{i:03d}" for i in range(len(group))])


def rows(town, minimum=10):
    scores, groups, speakers = town
    table = remedies(scores, groups, speakers, "as_it_is", SAMPLING, minimum)
    return table.set_index(["arm", "attribute", "group"])


def test_values_are_means_over_seeds_and_differences_are_paired(town):
    scores, groups, _ = town
    table = rows(town)
    for arm, parts in scores.items():
        for group in ("a", "b"):
            inside = (groups["group"] == group).to_numpy()
            row = table.loc[(arm, "group", group)]
            assert row["value"] == pytest.approx(parts[:, inside].mean())
            gaps = (parts - scores["as_it_is"])[:, inside].mean(axis=1)
            assert row["difference"] == pytest.approx(gaps.mean())
            assert (row["seeds_low"], row["seeds_high"]) == pytest.approx((gaps.min(), gaps.max()))
        assert table.loc[(arm, "all", "everybody"), "value"] == pytest.approx(parts.mean())
    gains = table.loc["balanced"]
    assert gains.loc[("group", "b"), "difference_low"] < 0.2 < gains.loc[("group", "b"), "difference_high"]
    assert gains.loc[("group", "a"), "difference_high"] < 0
    # Paired: what all arms share cancels, so the interval of the difference is the narrower one.
    width = gains["difference_high"] - gains["difference_low"]
    wide = gains["high"] - gains["low"]
    assert all(width[("group", name)] < wide[("group", name)] for name in "ab")


def test_nothing_differs_from_itself(town):
    same = rows(town).loc["as_it_is"].dropna(subset="value")
    assert (same[["difference", "difference_low", "difference_high", "seeds_low", "seeds_high"]] == 0).all(axis=None)


def test_the_worst_group_may_be_another_one_in_another_arm(town):
    scores, groups, _ = town
    lowest = rows(town).xs(("group", "lowest"), level=("attribute", "group"))
    means = {arm: pd.Series(parts.mean(axis=0)).groupby(groups["group"]).mean() for arm, parts in scores.items()}
    for arm, by_group in means.items():
        assert lowest.loc[arm, "value"] == pytest.approx(by_group[["a", "b"]].min())  # c is too small to count
        assert lowest.loc[arm, "low"] <= lowest.loc[arm, "value"] <= lowest.loc[arm, "high"]
    assert lowest.loc["balanced", "difference"] == pytest.approx(means["balanced"]["b"] - means["as_it_is"]["b"])


def test_of_a_tiny_group_only_the_number_is_told(town):
    table = rows(town)
    tiny = table.xs(("group", "c"), level=("attribute", "group"))
    assert (tiny["n_speakers"] == 3).all() and tiny.drop(columns="n_speakers").isna().all(axis=None)
    assert rows(town, minimum=3).loc[("before", "group", "c"), "value"] > 0


def test_intervals_stay_in_the_range_of_a_share():
    scores = {"as_it_is": np.ones((2, 12)) - np.eye(2, 12)}
    table = remedies(scores, pd.DataFrame({"group": ["a"] * 12}), np.arange(12), "as_it_is", SAMPLING, 10)
    assert table["high"].max() == 1 and table["low"].min() > 0


def test_arms_that_cannot_be_compared_are_refused(town):
    scores, groups, speakers = town
    with pytest.raises(UserError, match="no arm 'before_all'"):
        remedies(scores, groups, speakers, "before_all", SAMPLING, 10)
    with pytest.raises(UserError, match="'balanced' has 2 seeds"):
        remedies(scores | {"balanced": scores["balanced"][:2]}, groups, speakers, "as_it_is", SAMPLING, 10)
