"""Figures of the audit name their panels and speakers, mark what is beyond luck."""

import numpy as np
import pandas as pd
import pytest

from s2f.fairness import audit
from s2f.fairness.audit import Metric
from s2f.metrics.bootstrap import Resampling
from s2f.plots import forest, style


@pytest.fixture(autouse=True)
def one_style():
    style.use()


def metrics():
    rng = np.random.default_rng(1)
    groups = pd.DataFrame({"sex": rng.choice(["F", "M"], 80), "group": ["G1"] * 40 + ["G2"] * 35 + ["G3"] * 5})
    years = rng.random(80) + 2 * (groups["group"] == "G2")
    found = {"recall": Metric(rng.random(80), share=True), "error (years)": Metric(years, error=True)}
    table = audit.by_group(found, groups, np.arange(80), Resampling(seed=1, replicates=100), permutations=99)
    return forest.metric_forests(table)


def plants():
    names = ["own_language", "share_G4"]
    row = {"value": 0.2, "low": 0.1, "high": 0.3, "n_speakers": 40}
    arms = {f"{arm}{end}": 0.1 for arm in ("model", "best") for end in ("", "_low", "_high")}
    found = pd.DataFrame([{"planted": name, "truth": 0.25} | row for name in names])
    return forest.planted(found, pd.DataFrame([{"planted": names[1]} | row | arms]))


@pytest.mark.parametrize("draw", [metrics, plants])
def test_panels_are_named_and_speakers_counted(draw):
    figure = draw()
    assert len(figure.axes) == 2 and all(ax.get_xlabel() and ax.get_title(loc="left") for ax in figure.axes)
    assert all("n = " in label.get_text() for label in figure.axes[0].get_yticklabels())


def test_a_panel_says_which_way_is_better_and_what_is_beyond_luck():
    recall, years = metrics().axes
    assert (recall.get_xlabel(), years.get_xlabel()) == ("higher is better", "lower is better")
    beyond = {ax: [len(line[0].get_xdata()) for line in ax.containers[1:]] for ax in (recall, years)}
    assert beyond[years] == [2, 2]  # both sexes within luck, both groups beyond it
    assert beyond[recall] == [4, 0]


def test_what_was_planted_is_drawn_as_the_distance_from_its_size():
    apart, _ = plants().axes
    assert apart.containers[0][0].get_xdata() == pytest.approx([-0.05, -0.05])
    assert apart.get_yticklabels()[1].get_text() == "share G4: 0.250  (n = 40)"
