"""Figures of remedies and languages: every group, arm and reference is drawn and named."""

import numpy as np
import pandas as pd
import pytest

from s2f.fairness import languages, mitigation
from s2f.metrics import bootstrap
from s2f.plots import remedies, style

QUICK = bootstrap.Resampling(seed=3, replicates=100)


@pytest.fixture(autouse=True)
def one_style():
    style.use()


def named(fig):
    fig.canvas.draw()
    return [text.get_text() for legend in fig.legends for text in legend.get_texts()]


def test_every_group_that_is_large_enough_has_a_row(rng):
    groups = pd.DataFrame({"group": ["G1"] * 40 + ["G2"] * 30 + ["G3"] * 2, "speech": ["own", "foreign"] * 36})
    scores = {arm: rng.uniform(0.2, 0.9, (3, 72)) for arm in ("as_it_is", "by_group")}
    scores = {"before": rng.uniform(0.2, 0.9, (1, 72))} | scores
    table = mitigation.remedies(scores, groups, np.arange(72), "as_it_is", QUICK, 10)
    fig = remedies.by_group(table, "as_it_is", "matching")
    left, right = fig.axes
    assert [label.get_text() for label in left.get_yticklabels()] == [
        "everybody  (n = 72)", "G1  (n = 40)", "G2  (n = 30)", "lowest  (n = 70)",
        "foreign  (n = 36)", "own  (n = 36)", "lowest  (n = 72)",
    ]  # fmt: skip
    shown = named(fig)
    assert len(shown) == len(set(shown)) and {"as it is", "range over seeds", "by group, 95 % interval"} <= set(shown)
    # The bars of two arms, as wide as their range over seeds, in points.
    widths = [bar.get_width() for bar in right.patches]
    ranges = table[table["value"].notna() & (table["arm"] != "as_it_is")]
    assert sorted(widths) == pytest.approx(sorted(100 * (ranges["seeds_high"] - ranges["seeds_low"])))


def test_every_cell_and_reference_is_named(rng):
    def estimate(value):
        return bootstrap.interval(value + 0.1 * rng.uniform(-1, 1, 40), np.arange(40), QUICK)

    cells = {(trained, tested): estimate(0.3) for trained in ("en-us", "de") for tested in ("en-us", "de")}
    beside = {"chance": 0.5, "ceiling": 0.1, "sex": 0.25}
    tables = [
        languages.crossed(cells, QUICK).assign(score=score, metric=metric, **beside)
        for score in ("cosine", "likelihood_ratio")
        for metric in ("eer", "auc", "matching")
    ]
    fig = remedies.crossed(pd.concat(tables))
    cell, gap = ([label.get_text() for label in ax.get_yticklabels()] for ax in fig.axes[:2])
    assert cell[:4] == ["en-us, en-us", "en-us, de", "de, en-us", "de, de"] and "unheard language" in cell
    assert gap == ["en-us", "de", "both"]
    names = {"chance", "ceiling", "knows only the sex", "cosine, 95 % interval", "likelihood ratio, 95 % interval"}
    assert names <= set(named(fig))
    assert len(fig.axes) == 4 and all("40" in ax.get_title(loc="left") for ax in fig.axes[::2])
