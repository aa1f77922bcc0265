"""Figures of the ablations show every run, and differences as they are."""

import numpy as np
import pandas as pd
import pytest

from s2f.metrics import bootstrap, similarity
from s2f.plots import runs, style

QUICK = bootstrap.Resampling(seed=3, replicates=200)


@pytest.fixture(autouse=True)
def one_style():
    style.use()


@pytest.fixture
def arms(rng):
    speakers = np.repeat(np.arange(40), 2)
    base = rng.normal(size=80)
    return {"full": base, "first_only": base - 1, "no_batch_norm": base + 0.01 * rng.normal(size=80)}, speakers


def test_whiskers_of_a_real_difference_miss_the_line(arms):
    values, speakers = arms
    table = bootstrap.against(values, "full", speakers, QUICK)
    fig = runs.differences({"recall": table, "angle": table}, "full")
    assert [panel.get_xlabel() for panel in fig.axes] == ["recall", "angle"]
    ax = fig.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["full", "first only", "no batch norm"]
    (segments,) = (collection.get_segments() for collection in ax.collections)
    line = values["full"].mean()
    ends = {int(segment[0][1]): sorted(x for x, _ in segment) for segment in segments}
    assert ends[1][1] < line and ends[2][0] <= line <= ends[2][1]


def test_each_model_has_its_line(arms):
    values, speakers = arms
    table = similarity.duration_curve({1.0: values["full"], 6.0: values["first_only"]}, speakers, QUICK)
    fig = runs.durations({"trained on 3 s": table, "trained on 6 s": table}, "angle / degrees")
    assert [text.get_text() for text in fig.axes[0].get_legend().get_texts()] == ["trained on 3 s", "trained on 6 s"]
    curve = pd.DataFrame({"step": [10, 20], "val_degrees": [60.0, 55.0]})
    fig = runs.learning({"BN": curve, "without BN": curve}, "val_degrees", "angle / degrees")
    assert len(fig.axes[0].get_lines()) == 2 and fig.axes[0].get_xlabel() == "training step"
