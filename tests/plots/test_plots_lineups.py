"""Figures of line-up risk: they say what their axes are and how many speakers they rest on."""

import numpy as np
import pandas as pd
import pytest

from s2f.fairness import lineup
from s2f.metrics import protocols, similarity
from s2f.metrics.bootstrap import Resampling
from s2f.plots import lineups, style

QUICK = Resampling(seed=1, replicates=50)


@pytest.fixture(autouse=True)
def one_style():
    style.use()


def comparisons(rng):
    own, faces = np.repeat(np.arange(40), 2), rng.normal(size=(40, 5))
    voices = {name: faces[own] + noise * rng.normal(size=(80, 5)) for name, noise in (("ours", 1.0), ("oracle", 0.5))}
    return {name: lineup.Comparison(similarity.pairwise(heard, faces, "cosine"), own) for name, heard in voices.items()}


def strata(rng):
    return pd.DataFrame({"sex": rng.choice(["F", "M"], 40)}).iloc[np.repeat(np.arange(40), 2)].reset_index(drop=True)


def innocents_above(rng):
    compared = comparisons(rng)["ours"]
    pairs = compared.matching(2, compared.own, QUICK, strata(rng)).iloc[0]
    return lineups.innocents_above({"ours": lineup.innocents_above(pairs, pairs, compared.ranks, [10, 5000], QUICK)})


def match_rates(rng):
    about, ours = strata(rng), comparisons(rng)
    matched = {n: {name: s.matching(n, s.own, QUICK, about) for name, s in ours.items()} for n in (2, 6)}
    return lineups.match_rates(matched, "oracle", protocols.LISTENERS)


def top_matches(rng):
    ours, groups = comparisons(rng)["ours"], {"sex": list("FM") * 20, "group": ["G1"] * 37 + ["G2"] * 3}
    tables = {
        name: lineup.top_matches(ours.scores, ours.scores, ours.own, pd.Series(labels), ours.own, QUICK, 5)
        for name, labels in groups.items()
    }
    return lineups.top_matches(tables)


def calibration(rng):
    compared = comparisons(rng)["ours"]
    drawn = lineup.draw_lineups(np.zeros(40), compared.own, members=6, times=4, seed=1)
    table = lineup.choices(compared.scores, drawn, compared.own, scale=4.0)
    return lineups.calibration(lineup.calibration(table, np.linspace(1 / 6, 1, 4), QUICK), members=6)


each_figure = pytest.mark.parametrize("draw", [innocents_above, match_rates, top_matches, calibration])


@each_figure
def test_figures_name_their_axes_and_say_how_many_speakers(draw, rng):
    axes = draw(rng).axes
    texts = [ax.get_title(loc="left") for ax in axes] + [label.get_text() for label in axes[0].get_yticklabels()]
    assert all(ax.get_xlabel() for ax in axes) and axes[0].get_ylabel()
    assert any("n = " in text for text in texts)


def test_a_group_too_small_for_a_number_is_left_out(rng):
    labels = [label.get_text() for label in top_matches(rng).axes[0].get_yticklabels()]
    assert any("G1" in label for label in labels) and not any("G2" in label for label in labels)


def test_bands_of_listeners_stand_where_there_is_one_other_face(rng):
    two, six = match_rates(rng).axes
    shown = [study for study in protocols.LISTENERS if study.others in ("anybody", "same sex")]
    assert len(two.collections) - len(six.collections) == len(shown) == 3
