"""Numbers over several trainings: their mean, and an interval for one more training on other speakers."""

import copy

import numpy as np
import pytest
from scipy import stats

from s2f.report import estimates
from s2f.report.estimates import Number, numbers

NUMBERS = 300


def row(value, half_width=0.1, **others):
    return {"value": value, "low": value - half_width, "high": value + half_width} | others


def study(values, half_widths):
    return {"retrieval": {str(index): row(*pair) for index, pair in enumerate(zip(values, half_widths, strict=True))}}


def simulated(training_share, trainings, seed):
    """Results of so many trainings on the same speakers, and numbers of one more training.

    Returns the results, what a further training gives on the same speakers, and what it gives on all speakers.
    """
    draw = np.random.default_rng(seed)
    half_widths = np.exp(0.5 * draw.normal(size=NUMBERS))
    over_speakers = (half_widths / stats.norm.isf(0.025)) ** 2
    # From number to number training counts for more or less, as in the real study.
    between = over_speakers * training_share / (1 - training_share) * 8 / draw.chisquare(8, NUMBERS)
    luck = 5 + draw.normal(size=NUMBERS) * np.sqrt(over_speakers)
    effects = draw.normal(size=(trainings + 1, NUMBERS)) * np.sqrt(between)
    return [study(luck + effect, half_widths) for effect in effects[1:]], luck + effects[0], 5 + effects[0]


@pytest.mark.parametrize("training_share", [0.2, 0.5])
@pytest.mark.parametrize("trainings", [3, 5])
def test_the_interval_covers_another_training(training_share, trainings):
    """On other speakers in 95 of 100 cases, on the same speakers in more: those add nothing then."""
    same, other = [], []
    for seed in range(20):
        (first, *further), on_the_same, on_others = simulated(training_share, trainings, seed)
        results = first | {"trainings": estimates.trainings(first, dict(enumerate(further, 1)), 0)}
        found = [place.number for place in estimates.pooled(results).values()]
        low, high = np.array([number.low for number in found]), np.array([number.high for number in found])
        same.append(((low <= on_the_same) & (on_the_same <= high)).mean())
        other.append(((low <= on_others) & (on_others <= high)).mean())
    assert np.mean(other) == pytest.approx(0.95, abs=0.015)
    assert np.mean(same) > 0.95


def test_intervals_over_speakers_alone_do_not():
    """What the package did before: a training that makes half of the variance is covered far too rarely."""
    covered = []
    for seed in range(20):
        (first, *_), _, on_others = simulated(0.5, 3, seed)
        found = list(numbers(first).values())
        covered.append(np.mean([n.low <= value <= n.high for n, value in zip(found, on_others, strict=True)]))
    assert np.mean(covered) < 0.8


@pytest.fixture
def results():
    """Three trainings: one number moves, one does not, and there are words, counts and p values."""
    first = {
        "audit": {
            "rows": [row(0.5, group="A", p=0.01, n_speakers=9), row(0.3, group="B", p=0.2, n_speakers=8)],
            "curve": [0.1, 0.2],
            "top": [{"group": "A", "value": 1.5}],
        },
        "null_world": {"r": row(0.0)},
        "data": {"mean": row(3.0)},
    }
    others = {seed: copy.deepcopy({"audit": first["audit"]}) for seed in (31, 32)}
    for shift, other in zip((0.03, 0.06), others.values(), strict=True):
        other["audit"]["rows"][0] |= row(0.5 + shift, p=0.01 + shift)
        other["audit"]["curve"][1] += shift
    others[31]["audit"]["top"] = [{"group": "B", "value": 9.5}]  # of something else
    return first | {"trainings": estimates.trainings(first, others, 3)}


def test_a_number_is_the_mean_over_trainings(results):
    pooled = estimates.over_trainings(results)
    moved, same = pooled["audit"]["rows"]
    assert moved["value"] == pytest.approx(0.53)
    assert moved["low"] < 0.43 and moved["high"] > 0.63  # the interval of the first is 0.2 wide
    assert same == results["audit"]["rows"][1]
    assert pooled["audit"]["curve"] == pytest.approx([0.1, 0.23])
    assert moved["n_speakers"] == 9 and moved["group"] == "A"


def test_a_finding_must_hold_in_every_training(results):
    assert estimates.over_trainings(results)["audit"]["rows"][0]["p"] == pytest.approx(0.07)


def test_records_of_something_else_are_not_averaged(results):
    assert estimates.over_trainings(results)["audit"]["top"] == [{"group": "A", "value": 1.5}]


def test_what_no_training_changes_stays(results):
    pooled = estimates.over_trainings(results)
    assert pooled["data"] == results["data"]
    assert estimates.over_trainings({"data": results["data"]}) == {"data": results["data"]}


def test_the_results_of_the_first_training_are_left_alone(results):
    before = copy.deepcopy(results)
    estimates.over_trainings(results)
    assert results == before


def test_a_stage_that_was_not_repeated_gets_the_variance_of_the_others():
    (first, *further), _, _ = simulated(0.5, 3, 0)
    first["null_world"] = {"r": row(0.0, 1.0)}
    results = first | {"trainings": estimates.trainings(first, dict(enumerate(further, 1)), 0)}
    found = estimates.pooled(results)["null_world.r.value"]
    assert found.first == Number(0.0, -1.0, 1.0) and found.trainings == (0.0,)
    assert found.share == pytest.approx(2 * 0.5 / (2 * 0.5 + 0.5), abs=0.1)  # one training, and one more
    assert found.number.high > 1.5


def test_a_number_that_another_training_lacks_gets_the_variance_of_the_others():
    (first, *further), _, _ = simulated(0.5, 3, 0)
    del further[0]["retrieval"]["7"]
    found = estimates.pooled(first | {"trainings": estimates.trainings(first, dict(enumerate(further, 1)), 0)})
    assert len(found["retrieval.7.value"].trainings) == 1 and found["retrieval.7.value"].share > 0.5
    assert len(found["retrieval.8.value"].trainings) == 3


@pytest.mark.parametrize(("name", "bounded"), [("value", True), ("r", False)])
def test_a_share_stays_within_nothing_and_all(name, bounded):
    """A correlation may be below nothing."""
    first = {"a": {str(i): {name: 0.02, "low": 0.0, "high": 0.05 + i / 1000} for i in range(20)}}
    others = {1: copy.deepcopy(first), 2: copy.deepcopy(first)}
    draw = np.random.default_rng(0)
    for other in others.values():
        for place in other["a"].values():
            place[name] = float(draw.uniform(0, 0.05))
    pooled = estimates.pooled(first | {"trainings": estimates.trainings(first, others, 3)})
    assert all((found.number.low == 0) == bounded for found in pooled.values())
    assert all(found.number.low < found.number.value < found.number.high <= 1 for found in pooled.values())
