"""Figures of the controls: they say what their axes are and whose results they show."""

import numpy as np
import pandas as pd
import pytest

from s2f.fairness import interventions
from s2f.metrics import bootstrap
from s2f.plots import controls as plots
from s2f.plots import style

QUICK = bootstrap.Resampling(seed=1, replicates=50)


@pytest.fixture(autouse=True)
def one_style():
    style.use()


def labels(rng, n=60):
    return pd.DataFrame({"sex": rng.choice(["F", "M"], n), "age_band": rng.choice(["18-34", "35-80"], n)})


def differences(rng):
    true, voice, image = (labels(rng) for _ in range(3))
    return plots.differences(interventions.voice_less_image(true, voice, image, np.arange(60), QUICK, permutations=19))


def painters(rng):
    true, population = labels(rng), labels(rng, 100)
    weights = rng.dirichlet(np.ones(100), 60)
    painted = {arm: labels(rng) for arm in ("from_face", "0%", "100%")}
    return plots.painters(*interventions.painters(true, painted, population, weights, np.arange(60), QUICK))


def equivalence(rng):
    value = np.array([0.5, 0.9, 0.55])
    verdicts = {"equivalent": [True, False, False], "beyond": [False, True, False], "margin": 0.1, "n_speakers": 40}
    bounds = {"value": value, "low": value - 0.05, "high": value + 0.07}
    return plots.equivalence(pd.DataFrame({"control": ["large_ears", "sex", "hair"]} | bounds | verdicts))


def survival(rng):
    arms = {"intact": rng.random(40), "noise": rng.random(40)}
    table = interventions.survival(arms, 0.5, np.arange(40), QUICK)
    names = ["matching", "matching_anew", "sex", "age_band", "group"]
    return plots.survival(pd.concat([table.assign(what=what) for what in names], ignore_index=True))


each_chart = pytest.mark.parametrize("draw", [differences, painters, equivalence, survival])


@each_chart
def test_charts_name_their_axes_and_say_how_many_speakers(draw, rng):
    fig = draw(rng)
    legends = [text.get_text() for ax in fig.axes if ax.get_legend() for text in ax.get_legend().get_texts()]
    texts = [ax.get_title(loc="left") for ax in fig.axes]
    texts += [label.get_text() for label in fig.axes[0].get_yticklabels()]
    assert any(ax.get_xlabel() for ax in fig.axes) and fig.axes[0].get_ylabel()
    assert any("n = " in text for text in texts + legends)


def test_the_verdict_on_a_control_shows_in_marker_and_legend(rng):
    fig = equivalence(rng)
    drawn = {line.get_xdata()[0] for line in fig.axes[0].lines if line.get_marker() in style.MARKERS}
    assert drawn == {0.5, 0.9, 0.55}
    assert {text.get_text().split(",")[0] for text in fig.legends[0].get_texts()} >= set(plots.VERDICTS)
