"""The audit itself is audited: planted gaps are found, null data is not, copies change nothing."""

import time

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import MetricFrame
from scipy.stats import norm
from scipy.stats import t as student_t

from s2f.fairness import audit
from s2f.fairness.audit import Metric
from s2f.metrics.bootstrap import Resampling
from s2f.metrics.retrieval import Ranks
from s2f.study.paths import UserError

QUICK = Resampling(seed=4, replicates=200)


def people(rng, n_speakers=200, clips=4, gap=0.0, icc=0.2):
    """Hits of mean .6 that go with the speaker, and groups; the last group's mean is lower by `gap`."""
    group = rng.choice(["a", "b", "c"], n_speakers)
    sex = rng.choice(["F", "M"], n_speakers)
    level = 0.6 - gap * (group == "c")
    own = rng.beta(level * (1 / icc - 1), (1 - level) * (1 / icc - 1))
    speakers = np.repeat([f"s{i:04d}" for i in range(n_speakers)], clips)
    hits = (rng.random(len(speakers)) < np.repeat(own, clips)).astype(float)
    return (
        hits,
        pd.DataFrame({"group": group, "sex": sex}).loc[np.repeat(np.arange(n_speakers), clips)],
        speakers,
    )


def run(hits, groups, speakers, resampling=QUICK, permutations=199, **options):
    return audit.disaggregate(
        hits, groups, speakers, resampling, metric="hit", permutations=permutations, share=True, **options
    )


def test_point_estimates_equal_fairlearn(rng):
    hits, groups, speakers = people(rng)
    found = run(hits, groups, speakers, intersections=[("sex", "group")]).set_index(["attribute", "group"])["estimate"]
    for columns in (["sex"], ["sex", "group"]):
        frame = MetricFrame(
            metrics=lambda true, _: true.mean(), y_true=hits, y_pred=hits, sensitive_features=groups[columns]
        )
        for key, mean in frame.by_group.items():
            label = key if isinstance(key, str) else " x ".join(key)
            assert found[" x ".join(columns), label] == pytest.approx(mean, abs=1e-12)
    assert found["all", "overall"] == pytest.approx(hits.mean(), abs=1e-12)


def test_null_data_is_rejected_at_the_nominal_rate():
    rejected = 0
    for seed in range(100):
        hits, groups, speakers = people(np.random.default_rng(seed), n_speakers=90, clips=5)
        found = run(hits, groups[["group"]], speakers, Resampling(seed=seed, replicates=2), permutations=99)
        rejected += found.p_adj.min() <= 0.05
    # 100 audits at .05: mean 5, standard deviation 2.2, 3.5 of them above.
    assert rejected <= 5 + 3.5 * 2.2


def test_a_planted_gap_is_found(rng):
    hits, groups, speakers = people(rng, n_speakers=450, gap=0.25)
    found = run(hits, groups, speakers).set_index(["attribute", "group"])
    planted = found.loc["group", "c"]
    assert planted.p_adj <= 0.01 and planted.ci_lo < 0.35 < planted.ci_hi and planted.difference < -planted.mdd80
    gap, worst = found.loc["group", "gap"], found.loc["group", "worst"]
    assert gap.estimate > gap.null_p95 > gap.null_mean and gap.p_raw <= 0.01
    assert worst.estimate < worst.null_p95 < worst.null_mean and worst.p_raw <= 0.01
    assert worst.estimate == pytest.approx(found.loc["group", "c"].estimate, abs=1e-12)
    assert found.loc["sex", "F"].p_adj > 0.01


def test_several_metrics_are_one_family_and_an_error_is_worse_where_it_is_larger(rng):
    hits, groups, speakers = people(rng, n_speakers=300, gap=0.3)
    years = 5 + 4 * (groups["group"] == "a").to_numpy() + rng.standard_normal(len(hits))
    noise = rng.standard_normal(len(hits))
    metrics = {"hit": Metric(hits, share=True), "years": Metric(years, error=True), "noise": Metric(noise)}
    found = audit.by_group(metrics, groups, speakers, QUICK, permutations=199)
    found = found.set_index(["metric", "attribute", "group"])
    assert found.loc["years", "group", "worst"].estimate == pytest.approx(found.loc["years", "group", "a"].estimate)
    assert found.loc["hit", "group", "worst"].estimate == pytest.approx(found.loc["hit", "group", "c"].estimate)
    for key, null in (("years", "a"), ("hit", "c")):
        row = found.loc[key, "group", null]
        assert row.p_adj == 0.005 and (row.null_p95 - row.null_mean) * row.difference > 0
    alone = run(hits, groups, speakers).set_index(["attribute", "group"])
    together = found.loc["hit"]
    same = ["estimate", "ci_lo", "ci_hi", "difference", "null_mean", "null_p95", "p_raw", "mdd80"]
    pd.testing.assert_frame_equal(alone[same], together[same])  # the same deals of speakers
    assert (together["p_adj"] >= alone["p_adj"] - 1e-12)[alone["p_adj"].notna()].all()
    assert ("noise", "group", "ratio") not in found.index  # it goes below zero


def plain_deviate(values, clips, inside, between, within):
    """Difference of two means, its standard error and normal deviate, from sums over the clips of each speaker."""
    means, variances, dfs = [], [], []
    for side in (inside, ~inside):
        total, n = values[side], clips[side]
        speakers = n.sum() ** 2 / (n**2).sum()
        means.append(total.sum() / n.sum())
        own = ((total - n * means[-1]) ** 2).sum() * speakers / (speakers - 1)
        usual = between * (n**2).sum() + within * n.sum()
        dfs.append(speakers - 1 + audit.BORROWED)
        variances.append(((speakers - 1) * own + audit.BORROWED * usual) / dfs[-1] / n.sum() ** 2)
    se = np.sqrt(sum(variances))
    df = se**4 / sum(variance**2 / df for variance, df in zip(variances, dfs, strict=True))
    apart = means[0] - means[1]
    return apart, se, np.sign(apart) * norm.isf(student_t.sf(abs(apart) / se, df))


def test_p_values_are_those_of_studentised_differences_and_allow_for_all_of_them(rng):
    """Against plain loops over the same deals, with other numbers of clips for each speaker."""
    clips = rng.integers(1, 9, 60)
    speakers = np.repeat(np.arange(60), clips)
    of_speaker = pd.DataFrame({"group": rng.choice(["a", "b", "c"], 60), "sex": rng.choice(["F", "M"], 60)})
    years = rng.normal(size=60)[speakers] + rng.normal(size=len(speakers))
    columns = {"years": years, "other": rng.normal(size=len(speakers))}
    metrics = {name: Metric(values) for name, values in columns.items()}
    found = audit.by_group(metrics, of_speaker.loc[speakers], speakers, QUICK, permutations=50)
    found = found.set_index(["metric", "attribute", "group"])
    deals = np.random.default_rng(QUICK.seed).permuted(np.tile(np.arange(60), (50, 1)), axis=1)
    plain = {}
    for name, values in columns.items():
        values = values - values.mean()
        sums = np.bincount(speakers, values)
        within = ((values - (sums / clips)[speakers]) ** 2).sum() / (len(values) - 60)
        usual = ((sums**2).sum() - within * len(values)) / (clips**2).sum(), within
        for attribute, labels in of_speaker.items():
            for group in labels.unique():
                inside = (labels == group).to_numpy()
                apart, se, deviate = plain_deviate(sums, clips, inside, *usual)
                row = found.loc[name, attribute, group]
                assert (row.difference, row.se) == pytest.approx((apart, se))
                luck = [plain_deviate(sums[order], clips[order], inside, *usual)[2] for order in deals]
                plain[name, attribute, group] = np.abs([deviate, *luck])
    largest = np.max(list(plain.values()), axis=0)[1:]
    for key, (deviate, *luck) in plain.items():
        # The deviate is approximated, within .01, which may exchange two deals that are next to each other.
        assert found.loc[key].p_raw == pytest.approx((1 + (np.array(luck) >= deviate).sum()) / 51, abs=1.01 / 51)
        assert found.loc[key].p_adj == pytest.approx((1 + (largest >= deviate).sum()) / 51, abs=1.01 / 51)


def test_a_gap_is_as_likely_as_the_furthest_group_of_its_attribute(rng):
    hits, groups, speakers = people(rng, n_speakers=120, clips=3)
    found = run(hits, groups, speakers).set_index(["attribute", "group"])
    sex = found.loc["sex"]
    assert sex.p_raw["gap"] == sex.p_raw["ratio"] == sex.p_raw["F"] == sex.p_raw["M"]  # two groups, one difference
    assert sex.p_adj["gap"] == sex.p_adj["ratio"]
    three = found.loc["group"]
    assert three.p_raw["gap"] >= three.p_raw[["a", "b", "c"]].min()  # three chances of being far off


def test_a_metric_that_is_the_same_for_everybody_has_a_gap_of_none_and_no_p():
    groups = pd.DataFrame({"sex": np.repeat(["F", "M"], 40)})
    found = run(np.full(80, 0.7), groups, np.arange(80) // 2).set_index("group")
    assert found.difference["F"] == found.estimate["gap"] == found.null_mean["gap"] == found.null_p95["gap"] == 0
    assert found.null_p95[["F", "worst"]].to_numpy() == pytest.approx(0.7)
    assert found[["p_raw", "p_adj"]].isna().all(axis=None)


def test_few_speakers_who_are_alike_are_not_taken_to_be_certain(rng):
    """Eleven of twelve speakers hitting always is luck where two of three clips hit."""
    hits = np.concatenate([np.ones(24), rng.random(400) < 0.9])
    groups = pd.DataFrame({"group": np.repeat(["few", "rest"], [24, 400])})
    row = run(hits, groups, np.arange(424) // 2).set_index("group").loc["few"]
    spread = hits.std() * np.sqrt(1 / 24)
    assert row.se > 0.5 * spread and row.p_raw > 0.05


def test_a_metric_without_a_value_is_named():
    with pytest.raises(UserError, match="The metric 'hit' of row 1 holds nan"):
        run(np.array([1.0, np.nan]), pd.DataFrame({"sex": ["F", "M"]}), np.arange(2))


def test_the_usual_metrics_say_which_way_is_better():
    true = pd.DataFrame({"sex": ["F", "M"], "age_band": ["18-34", "35-49"], "age": [20.0, 40.0]})
    read = pd.DataFrame({"sex": pd.Categorical(["F", "F"]), "age_band": pd.Categorical(["35-49", "35-49"])})
    placed = Ranks(np.array([0, 2]), np.array([0, 0]), others=4)
    found = audit.usual_metrics(placed, 3, read, np.array([25.0, 30.0]), np.array([50.0, 60.0]), true)
    values = {name: (metric.values.tolist(), metric.better) for name, metric in found.items()}
    assert values["1:2 matches won"] == ([1.0, 0.5], "higher")
    assert values["drawn in the true sex"] == ([1.0, 0.0], "higher")
    assert values["drawn in the true age band"] == ([0.0, 1.0], "higher")
    assert values["error of apparent age (years)"] == ([5.0, 10.0], "lower")
    assert values["angle to the true feature (degrees)"] == ([50.0, 60.0], "lower")
    assert values["among the first 10 of 3"] == ([1.0, 1.0], "higher")


def test_copies_of_clips_and_the_order_of_rows_change_nothing(rng):
    hits, groups, speakers = people(rng, n_speakers=80)
    order = rng.permutation(len(hits))
    numbers = ["estimate", "ci_lo", "ci_hi", "p_raw", "p_adj", "mdd80", "null_mean"]
    once = run(hits, groups, speakers)
    twice = run(np.tile(hits, 2), pd.concat([groups, groups]), np.tile(speakers, 2))
    mixed = run(hits[order], groups.iloc[order, ::-1], speakers[order])
    for other in (twice, mixed):
        same = once.merge(other, on=["attribute", "group"], suffixes=("", "_other"))
        assert len(same) == len(once)
        for name in numbers:
            np.testing.assert_allclose(same[name], same[f"{name}_other"], atol=1e-10)


def test_small_groups_show_their_size_and_nothing_else(rng):
    hits, groups, speakers = people(rng, n_speakers=60, clips=2)
    groups = groups.assign(rare=np.repeat(["x"] * 9 + ["y"] * 50 + [None], 2))
    found = run(hits, groups, speakers).query("attribute == 'rare'").set_index("group")
    assert list(found.index) == ["x", "y"]  # one group is left, so there is no gap
    assert found.n_speakers["x"] == 9 and found.n_clips["x"] == 18
    assert found.suppressed_reason["x"] == "fewer than 10 speakers"
    assert found.loc["x", ["estimate", "ci_lo", "ci_hi", "p_raw", "mdd80"]].isna().all()
    assert found.estimate["y"] == hits[18:118].mean() and np.isnan(found.p_raw["y"])


def test_an_intersection_is_known_where_all_its_parts_are(rng):
    hits, groups, speakers = people(rng, n_speakers=60, clips=2)
    groups = groups.assign(sex=groups["sex"].where(np.arange(120) >= 20))
    found = run(hits, groups, speakers, intersections=[("sex", "group")]).query("attribute == 'sex x group'")
    crossed = found[found["group"].str.contains(" x ")]
    assert crossed["n_clips"].sum() == 100 and set(crossed["group"]) <= {f"{a} x {b}" for a in "FM" for b in "abc"}


def test_three_attributes_are_crossed_where_the_groups_are_large_enough(rng):
    hits, groups, speakers = people(rng, n_speakers=200, clips=2)
    groups = groups.assign(age=np.repeat(["young"] * 150 + ["old"] * 50, 2))
    found = run(hits, groups, speakers, intersections=[("sex", "age", "group")], minimum=20)
    crossed = found[found["group"].str.count(" x ") == 2]
    assert len(crossed) == 12 and crossed["n_speakers"].sum() == 200
    assert crossed["p_adj"].notna().equals(crossed["n_speakers"] >= 20) and crossed["p_adj"].notna().any()
    assert (crossed["suppressed_reason"].dropna() == "fewer than 20 speakers").all()


def test_detectable_difference_is_that_of_a_two_sample_test(rng):
    values = rng.normal(size=400)
    found = run(values, pd.DataFrame({"half": ["a", "b"] * 200}), np.arange(400), permutations=999)
    expected = (norm.ppf(0.975) + norm.ppf(0.8)) * values.std() * np.sqrt(2 / 200)
    # The 95th percentile of 999 absolute deviates has a standard deviation of sqrt(.95 x .05 / 999) / (2 x .0584), .059
    # or 2.1 % of 2.80: four of them.
    assert found.mdd80[1] == pytest.approx(expected, rel=4 * 0.021)
    assert found.mdd80_adj[1] == pytest.approx(found.mdd80[1])  # both halves are one comparison


def test_more_comparisons_need_larger_differences(rng):
    hits, groups, speakers = people(rng)
    found = run(hits, groups, speakers, intersections=[("sex", "group")]).query("family == 'groups'")
    assert (found.mdd80_adj > 1.1 * found.mdd80).all()
    smaller = found[found["attribute"] == "sex x group"].se.min() / found[found["attribute"] == "sex"].se.max()
    assert smaller > 1 and (found.mdd80 / found.se).between(2.4, 3.4).all()


def test_a_speaker_in_two_groups_is_named():
    with pytest.raises(UserError, match="Speaker anna has more than one language"):
        run(np.ones(2), pd.DataFrame({"language": ["en", "de"]}), np.array(["anna", "anna"]))


def test_a_whole_audit_takes_seconds(rng):
    hits, groups, speakers = people(rng, n_speakers=400)
    groups = groups.assign(**{f"trait{i}": groups["group"].to_numpy()[::-1] for i in range(3)})
    start = time.process_time()
    found = audit.disaggregate(
        hits, groups, speakers, Resampling(seed=0), metric="hit", intersections=[("sex", "group")], share=True
    )
    assert len(found) > 20 and time.process_time() - start < 5


def test_a_perfect_painter_has_ratio_one_and_erasure_has_zero(rng):
    true = rng.choice(["big", "small"], 300, p=[0.9, 0.1])
    perfect = audit.painted_share(true, true, np.arange(300), QUICK)
    assert (perfect[["ratio", "low", "high", "recall"]] == 1).all(axis=None)
    erased = audit.painted_share(true, np.full(300, "big"), np.arange(300), QUICK).set_index("label")
    assert erased.ratio["small"] == erased.recall["small"] == 0 and erased.painted_share["big"] == 1


def test_the_bayes_painter_erases_as_theory_says_and_does_not_amplify():
    rng = np.random.default_rng(0)
    share, apart = 0.2, np.sqrt(2) * norm.ppf(0.92)  # voice evidence of AUC .92
    small = rng.random(40_000) < share
    voice = rng.normal(size=40_000) + apart * small
    odds = share / (1 - share) * np.exp(apart * voice - apart**2 / 2)
    posterior = np.stack([1 / (1 + odds), odds / (1 + odds)], axis=1)
    true, painted = np.where(small, "small", "big"), np.where(odds > 1, "small", "big")
    found = audit.painted_share(true, painted, np.arange(40_000) % 500, QUICK, posterior).set_index("label")
    threshold = apart / 2 + np.log((1 - share) / share) / apart
    recall, false = norm.sf(threshold - apart), norm.sf(threshold)
    # Shares of 8,000 clips have a standard deviation of at most .0056: four of them.
    assert found.recall["small"] == pytest.approx(recall, abs=0.022)
    assert found.ratio["small"] == pytest.approx(recall + false * (1 - share) / share, abs=0.03)
    assert found.bayes_ratio["small"] == found.ratio["small"] and found.amplification["small"] == 0
    never = audit.painted_share(true, np.full(40_000, "big"), np.arange(40_000) % 500, QUICK, posterior)
    assert never.amplification_low[1] > 0.5


def test_shrinkage_finds_the_planted_slopes(rng):
    speakers = np.repeat(np.arange(200), 3)
    group = np.repeat(["a", "b"], 300)
    age = np.repeat(rng.normal(45, 12, 200), 3)
    slope = np.where(group == "a", 0.8, 0.2)
    painted = 45 + slope * (age - 45) + 3 * rng.normal(size=600)
    found = audit.shrinkage(age, painted, speakers, QUICK, group).set_index("group")
    assert list(found.index) == ["overall", "a", "b"]
    for name, planted in (("a", 0.8), ("b", 0.2)):
        standard_error = (found.high[name] - found.low[name]) / (2 * 1.96)
        assert abs(found.slope[name] - planted) < 4 * standard_error
        assert found.variance_ratio[name] == pytest.approx(painted[group == name].var() / age[group == name].var())


def test_painted_share_refuses_labels_it_cannot_judge(rng):
    true = np.array(["a", "b"])
    with pytest.raises(UserError, match="3 columns for 2 labels"):
        audit.painted_share(true, true, true, QUICK, posterior=np.ones((2, 3)))
    with pytest.raises(UserError, match="No clip is truly 'c'"):
        audit.painted_share(true, true, true, QUICK, labels=["a", "b", "c"])
