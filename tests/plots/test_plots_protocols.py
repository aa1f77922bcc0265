"""Figures of matching and verification: every reference is drawn and named, and all values lie inside."""

import numpy as np
import pandas as pd
import pytest

from s2f.metrics import protocols
from s2f.plots import protocols as plots
from s2f.plots import style

ROW = {"value": 0.8, "low": 0.75, "high": 0.85, "n_speakers": 400, "sex": 0.6, "sex_and_group": 0.7, "ceiling": 0.95}


@pytest.fixture(autouse=True)
def one_style():
    style.use()


def by_stratum():
    rows = [
        {"stratum": name, "arm": arm, "chance": 0.5} | ROW for name in protocols.STRATA for arm in ("heard", "drawn")
    ]
    panels = {"unseen": pd.DataFrame(rows), "seen": pd.DataFrame(rows)}
    return plots.by_stratum(panels, "right answers", protocols.LISTENERS)


def by_candidates():
    rows = [
        {"direction": direction, "stratum": stratum, "arm": arm, "n": n, "chance": 1 / n} | ROW
        for direction in ("v2f", "f2v")
        for stratum in ("U", "GNA")
        for arm in ("heard", "drawn")
        for n in range(2, 11)
    ]
    return plots.by_candidates(pd.DataFrame(rows), ["U", "GNA"])


def by_gallery():
    rows = [
        {"measure": measure, "arm": arm, "size": size, "chance": 0.01} | ROW | {"value": 80 / size, "low": 0.0}
        for measure in ("r1", "r10", "r1_percent", "rank")
        for arm in ("heard", "drawn")
        for size in (100, 1000, 1_000_000)
    ]
    return plots.by_gallery(pd.DataFrame(rows))


@pytest.mark.parametrize("draw", [by_stratum, by_candidates, by_gallery])
def test_axes_and_references_are_named_once(draw):
    fig = draw()
    fig.canvas.draw()
    named = [text.get_text() for legend in fig.legends for text in legend.get_texts()]
    assert len(named) == len(set(named))
    assert {"chance", "ceiling", "knows only the sex", "knows only sex and group"} <= set(named)
    assert all("400" in ax.get_title(loc="left") for ax in fig.axes)


def test_strata_run_from_nothing_shared_to_all_shared():
    ax = by_stratum().axes[0]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[0] == "anybody (U)" and labels[-1].endswith("(GNA)") and ax.yaxis_inverted()
    assert ax.get_xlabel() == "right answers"


def test_a_panel_of_a_metric_says_which_end_is_better():
    rows = pd.DataFrame([{"stratum": "U", "arm": "heard", "chance": 0.5} | ROW])
    auc, eer = plots.by_stratum({"auc": rows, "eer": rows}).axes
    assert auc.get_title(loc="left").startswith("higher") and eer.get_title(loc="left").startswith("lower")
    assert (auc.get_xlabel(), eer.get_xlabel()) == ("area under the ROC curve", "equal error rate")


def test_galleries_are_read_off_logarithmic_axes_down_to_the_smallest_chance():
    fig = by_gallery()
    fig.canvas.draw()
    first = fig.axes[0]
    assert (first.get_xscale(), first.get_yscale()) == ("log", "log") and 0 < first.get_ylim()[0] < 80 / 1_000_000
    assert "1,000,000" in [label.get_text() for label in first.get_xticklabels()]
    percents = [label.get_text() for label in first.get_yticklabels()]
    assert {"100%", "1%", "0.01%"} <= set(percents)


def test_listeners_stand_in_their_stratum():
    rows = [{"stratum": name, "arm": "heard", "chance": 0.5} | ROW for name in ("U", "GNA")]
    study = protocols.Listeners("somebody", "GNA", 0.55, 0.60, "which of two")
    fig = plots.by_stratum({"unseen": pd.DataFrame(rows)}, "right answers", [study])
    (band,) = (part for part in fig.axes[0].collections if "listeners" in part.get_label())
    corners = band.get_paths()[0].vertices
    np.testing.assert_allclose(corners[:, 1].mean(), 1, atol=0.2)
    np.testing.assert_allclose([corners[:, 0].min(), corners[:, 0].max()], [0.55, 0.60], atol=0.005)
