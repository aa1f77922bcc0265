"""Systems compared pair by pair: plain loops, and planted differences."""

import numpy as np
import pandas as pd
import pytest

from s2f.metrics import bootstrap, paired, retrieval, similarity

QUICK = bootstrap.Resampling(seed=3, replicates=200)


def test_matching_equals_a_plain_loop(rng):
    system = rng.normal(size=(20, 20)).round(1)  # rounded: some scores tie
    label = rng.choice(["a", "b", None], 20)
    table = paired.matching({"it": system}, "it", QUICK, pd.DataFrame({"kind_of": label})).set_index("others")
    for others, row in table.iterrows():
        shares = []
        for i in range(20):
            rivals = [j for j in range(20) if j != i and (others == "anybody" or (label[i] == label[j] and label[i]))]
            if rivals:
                own, other = system[i, i], system[i, rivals]
                shares.append(np.mean((other < own) + (other == own) / 2))
        assert row["value"] == pytest.approx(np.mean(shares)) and row["n_clips"] == len(shares)
    assert set(table.index) == {"anybody", "same kind of"}


def test_a_planted_difference_lies_in_its_interval_and_shuffled_pairs_are_at_chance(rng):
    true = rng.normal(size=(300, 10))
    good, poor = (true + noise * rng.normal(size=true.shape) for noise in (1.0, 3.0))
    systems = {"poor": similarity.pairwise(poor, true, "l2"), "good": similarity.pairwise(good, true, "l2")}
    systems["shuffled"] = similarity.pairwise(rng.permutation(good), true, "l2")
    table = paired.matching(systems, "poor", QUICK).set_index("arm")
    assert table.at["good", "difference_low"] > 0 and table.at["poor", "difference"] == 0
    assert table.at["shuffled", "low"] < 0.5 < table.at["shuffled", "high"]
    assert table.at["good", "difference"] == pytest.approx(table.at["good", "value"] - table.at["poor", "value"])


def test_recall_and_choice_are_those_of_the_ranks(rng):
    system = rng.normal(size=(40, 40))
    placed = paired.ranks(system)
    assert list(placed.better) == [(row > row[i]).sum() for i, row in enumerate(system)]
    recall = paired.recall({"it": system}, "it", (1, 5), 20, QUICK).set_index("k")
    assert recall.at[5, "value"] == pytest.approx(retrieval.recall_at(placed, 5, 20).mean())
    assert list(recall["chance"]) == [0.05, 0.25]
    both = paired.choice({"it": system}, "it", (2, 40), QUICK).set_index("n")
    assert both.at[2, "value"] == pytest.approx(placed.wins.mean())
    assert both.at[40, "value"] == pytest.approx((placed.better == 0).mean())
