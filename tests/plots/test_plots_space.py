"""Figures of the feature space: every panel says what it shows."""

import numpy as np
import pandas as pd
import pytest

from s2f.plots import space, style

ARMS = {"from_voice": 0.0, "exaggerated_70": 0.7}


@pytest.fixture(autouse=True)
def one_style():
    style.use()


def feature_map():
    labels = pd.DataFrame({"sex": ["F", "M"] * 10, "spoken_at_home": [f"L{i % 6}" for i in range(20)]})
    points = np.random.default_rng(1).random((20, 2))
    return space.feature_map(points, 0.9312, "UMAP", ["true"] * 10 + ["predicted"] * 10, labels)


def exaggeration_curves(paper=()):
    names = ["pixel_sd_ratio", "sex_accuracy", "sex_certainty"]
    rows = pd.MultiIndex.from_product([["true_face", *ARMS], names], names=["arm", "measure"])
    value = np.linspace(0.5, 0.9, len(rows))
    table = pd.DataFrame({"value": value, "low": value - 0.1, "high": value + 0.1, "n_speakers": 40}, index=rows)
    return space.exaggeration_curves(table, ARMS, ["sex"], dict(paper))


def failure_gallery():
    faces = np.zeros((6, 8, 8, 3), np.uint8)
    captions = [f"person {i}" for i in range(6)]
    kinds = {"sex": np.array([5, 0]), "group": np.array([3]), "too old": np.array([], int)}
    return space.failure_gallery({"true face": faces, "from voice": faces}, captions, kinds)


FIGURES = (feature_map, exaggeration_curves, failure_gallery)


@pytest.mark.parametrize("draw", FIGURES[:2], ids=lambda draw: draw.__name__)
def test_every_panel_names_its_axes_and_the_figure_says_how_many(draw):
    figure = draw()
    assert all(ax.get_xlabel() and ax.get_ylabel() and ax.get_title(loc="left") for ax in figure.axes)
    assert "n = " in figure.get_suptitle()


def test_a_map_has_a_row_for_each_side_and_a_look_for_each_label():
    figure = feature_map()
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        f"{side}, by {name}" for side in ("true", "predicted") for name in ("sex", "spoken at home")
    ]
    *_, languages = figure.axes
    shown = [dots for dots in languages.collections if dots.get_label().startswith("L")]
    looks = {(tuple(dots.get_facecolor()[0]), dots.get_paths()[0].vertices.tobytes()) for dots in shown}
    assert len(looks) == len(shown) == 6
    assert [text.get_text() for text in languages.get_legend().get_texts()][0] == "L0 (n = 2)"


def test_the_paper_stands_where_it_has_a_number():
    marks = [line for line in exaggeration_curves({"exaggerated_70": 0.72, "exaggerated_500": 1}).axes[0].lines]
    (paper,) = (line for line in marks if line.get_label() == "paper")
    np.testing.assert_array_equal(paper.get_xydata(), [[0.7, 0.72]])


def test_failures_are_captioned_and_empty_places_stay_empty():
    figure = failure_gallery()
    sex, group, old = figure.subfigs[:3]
    assert [part.get_suptitle() for part in (sex, group, old)] == ["sex", "group", "too old"]
    assert [ax.get_title() for ax in sex.axes[:2]] == ["person 5", "person 0"]
    assert [len(ax.images) for ax in group.axes] == [1, 0, 1, 0]
    assert not any(ax.images for ax in old.axes)


def test_captions_star_another_groups_language_and_leave_out_what_is_not_known():
    about = pd.DataFrame({"sex": ["F", "M"], "age": [30.0, 70.0], "group": ["G1", "G2"], "language": "de"})
    read = pd.DataFrame({"sex": ["M", "M"], "age": [31.0, 45.4], "group": "G1"})
    starred = space.captions(about.assign(mismatched=[False, True]), read)
    assert starred == ["F 30 G1 de\nread: M 31 G1", "M 70 G2 de*\nread: M 45 G1"]
    assert space.captions(about.assign(group=None), read[["sex"]]) == ["F 30 de\nread: M", "M 70 de\nread: M"]
    assert space.captions(about, pd.DataFrame()) == ["F 30 G1 de", "M 70 G2 de"]
