"""The self-tests of the audit at small size: what must hold, within the luck of so few runs, and that they can fail."""

import dataclasses

import numpy as np
import pytest
import selftest
from scipy.special import comb
from scipy.stats import binom
from selftest import Check, Design

CHECKS = {check.name: check for check in selftest.CHECKS}
# One test of a right audit in a thousand may miss by luck.
LUCK = 0.001


def share(check, runs):
    return np.mean([check.run(seed) for seed in range(runs)])


def within_luck(found, required, runs):
    """Not fewer than a check at its lower bound, nor more than one at its upper bound, gives in so few runs."""
    low = binom.ppf(LUCK / 2, runs, required.low) / runs if not np.isnan(required.low) else 0
    high = binom.isf(LUCK / 2, runs, required.high) / runs if not np.isnan(required.high) else 1
    return low <= found <= high


@pytest.mark.parametrize(
    "kind",
    ["", ", three metrics", ", group of twelve", ", few clips", ", few clips, shares", ", few clips, heavy tails"],
)
def test_null_data_is_rejected_at_the_nominal_rate(kind):
    null = CHECKS[f"null data rejected{kind}"]
    assert within_luck(share(null, 50), null, 50)


@pytest.mark.parametrize("name, runs", [("planted 15 points found", 40), ("stated difference found", 40)])
def test_a_planted_gap_is_found_as_often_as_is_stated(name, runs):
    assert within_luck(share(CHECKS[name], runs), CHECKS[name], runs)


def plain_difference(design, seed):
    """Does a permutation test of the difference of two means find one, which takes no account of its standard error?"""
    drawn = selftest.sample(design, seed)
    sums, clips = np.bincount(drawn.speakers, drawn.values), np.bincount(drawn.speakers)
    inside = np.arange(len(clips)) >= design.sizes[0]
    orders = np.random.default_rng(seed).permuted(np.tile(np.arange(len(clips)), (199, 1)), axis=1)
    orders = np.vstack([np.arange(len(clips)), orders])
    means = [sums[orders][:, side].sum(axis=1) / clips[orders][:, side].sum(axis=1) for side in (inside, ~inside)]
    apart = np.abs(means[0] - means[1])
    return (apart >= apart[0] - 1e-12).mean() <= selftest.LEVEL


@pytest.mark.parametrize("name", ["null data rejected, few clips", "null data rejected, many clips, twelve"])
def test_a_plain_difference_is_caught_where_clips_go_with_the_group(name):
    """A small group with few clips would be found in a quarter of all studies, one with many clips hardly ever."""
    plain = dataclasses.replace(CHECKS[name], one=plain_difference)
    assert not within_luck(share(plain, 400), plain, 400)


@pytest.mark.parametrize("name", ["interval holds the truth", "interval holds the truth, cluster-t"])
def test_intervals_hold_the_truth(name):
    assert within_luck(share(CHECKS[name], 400), CHECKS[name], 400)


@pytest.mark.parametrize("check", [check for check in selftest.CHECKS if check.exact], ids=lambda check: check.name)
def test_what_must_hold_in_every_run_does(check):
    runs = 1 if check.once else 3
    assert check.row([check.run(seed) for seed in range(runs)])["holds"]


@pytest.mark.parametrize("attributes", selftest.ATTRIBUTE_CEILINGS)
def test_who_knows_an_attribute_scores_what_counting_says(attributes):
    """A cell of c among n people wins 1:N with probability n / (c N) (1 - C(n - c, N) / C(n, N)), ties shared."""
    cells = selftest.VOXCELEB1.people().groupby(list(attributes)).size().to_numpy()
    n = cells.sum()
    assert n == 1251
    sharing = (cells * (cells - 1)).sum() / (n * (n - 1))
    for size, printed in ((2, (0.748, 0.779, 0.888)), (10, (0.198, 0.226, 0.413))):
        chance = n / (cells * size) * (1 - comb(n - cells, size) / comb(n, size))
        exact = (cells * chance).sum() / n
        assert selftest.attribute_matching(selftest.VOXCELEB1, attributes, size) == pytest.approx(exact, abs=1e-9)
        assert selftest.ATTRIBUTE_CEILINGS[attributes][size] == pytest.approx(exact, abs=0.001)
        # Everybody taken to share the attribute with the same part of the others: right for 1:2 only.
        alike = (1 - (1 - sharing) ** size) / (size * sharing)
        assert alike == pytest.approx(printed[list(selftest.ATTRIBUTE_CEILINGS).index(attributes)], abs=0.005)


def test_an_audit_that_takes_clips_for_speakers_is_caught(monkeypatch):
    """With a correlation of .2 within a speaker, ten clips taken for ten speakers reject far too often."""
    honest = selftest.sample

    def naive(design, seed):
        return honest(design, seed)._replace(speakers=np.arange(sum(design.sizes) * design.clips))

    monkeypatch.setattr(selftest, "sample", naive)
    null = dataclasses.replace(CHECKS["null data rejected"], design=Design(sizes=(20, 20, 20), clips=10))
    for check, runs in ((null, 40), (CHECKS["interval holds the truth"], 200)):
        assert not within_luck(share(check, runs), check, runs)


def test_a_study_is_as_designed():
    design = Design(sizes=(3000, 1000), clips=4, gap=0.15)
    drawn = selftest.sample(design, 0)
    means = [drawn.values[(drawn.groups["group"] == group).to_numpy()].mean() for group in "01"]
    # Standard deviation of a mean of n speakers: sqrt(.24 (.2 + .8 / 4) / n), .0057 and .0098; four of them.
    assert means[0] == pytest.approx(0.6, abs=0.023) and means[1] == pytest.approx(0.45, abs=0.040)
    of_speaker = drawn.values.reshape(-1, 4)[:3000]
    alike = np.corrcoef(of_speaker[:, 0], of_speaker[:, 1])[0, 1]
    assert alike == pytest.approx(0.2, abs=4 / np.sqrt(3000))


def test_the_table_comes_from_several_processes_in_order_and_says_what_failed():
    small = Design(sizes=(12, 12), clips=2)
    always = Check("never rejected", selftest.rejects, small, low=1.0)
    narrowed = dataclasses.replace(CHECKS["interval narrowed by copies"], design=small)
    found = selftest.table([always, narrowed], runs=4, exact_runs=2, workers=2)
    assert found["check"].tolist() == ["never rejected", "interval narrowed by copies"]
    assert found["runs"].tolist() == [4, 2] and found["holds"].tolist() == [False, True]
    assert found["value"][0] == share(always, 4)
