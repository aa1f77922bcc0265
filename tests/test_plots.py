"""Every figure is drawn from a small table, names its axes, and is saved as the same bytes each time."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from s2f import audit, evaluate
from s2f.faces import MEASURES
from s2f.plots import census, forest, pictures, scores, space, style
from s2f.stats import Resampling


@pytest.fixture(autouse=True)
def one_style():
    style.use()


def estimates(n=3, **columns):
    value = np.linspace(0.3, 0.6, n)
    return pd.DataFrame(
        {"value": value, "low": value - 0.1, "high": value + 0.1, "n_speakers": 40, **columns}
    )


def curve():
    table = pd.DataFrame({"step": [0, 100, 200], "loss": [3.0, 2.0, 1.5], "val_loss": [3.1, 2.2, 1.8]})
    return scores.curve(table, "step", {"loss": "training", "val_loss": "validation"}, "step", "loss")


def duration_curve():
    table = estimates(seconds=[1.0, 3.0, 6.0], chance=0.1, ceiling=0.8)
    return scores.duration_curve(table, "recall among the first 10 of 100", {3.0: 0.385, 6.0: 0.458})


def confusion_matrices():
    sex = evaluate.confusion(pd.Series(["F", "F", "M"]), pd.Series(["F", "M", "M"]), ["F", "M"])
    nobody_in_g2 = pd.Series(["G1", "G3", "G3"]), pd.Series(["G1", "G1", "G3"])
    group = evaluate.confusion(*nobody_in_g2, ["G1", "G2", "G3"])
    return scores.confusion_matrices({"sex": sex, "group": group})


def craniofacial_bars():
    table = estimates(len(MEASURES)).rename(columns={"value": "r"})
    paper = [np.nan] + [0.2] * (len(MEASURES) - 1)
    return scores.craniofacial_bars(table.assign(measure=MEASURES, ceiling=0.8, random=0.02, paper=paper))


def recall_curves():
    long = estimates(k=[1, 5, 10], chance=[0.01, 0.05, 0.1], ceiling=0.9)
    return scores.recall_curves({"6 s": long, "3 s": estimates(k=[1, 5, 10])}, "K (first K of 100 faces)")


def group_forest():
    rng = np.random.default_rng(1)
    groups = pd.DataFrame(
        {"sex": rng.choice(["F", "M"], 60), "group": ["G1"] * 30 + ["G2"] * 25 + ["G3"] * 5}
    )
    hits, speakers = rng.random(60), np.arange(60)
    table = audit.disaggregate(
        hits, groups, speakers, Resampling(seed=1, replicates=100), metric="recall", permutations=99
    )
    return forest.group_forest(table, "recall among the first 10 of 100")


def negative_controls():
    binary = estimates(control=["glasses", "background", "light"], metric="auc", chance=0.5)
    return scores.negative_controls(
        pd.concat([binary, estimates(1, control=["skin"], metric="r", chance=0.0)])
    )


def gallery():
    faces = np.zeros((2, 8, 8, 3), np.uint8)
    return pictures.gallery({"true": faces, "from voice": faces}, ["F 30", "M 50"])


def spectrogram():
    return pictures.spectrogram(np.random.default_rng(1).random((2, 20, 257)))


def scatter_projection():
    return space.scatter_projection(np.random.default_rng(1).random((10, 2)), ["F", "M"] * 5, "PCA")


def people_overview():
    n = np.arange(20)
    people = pd.DataFrame(
        {"sex": np.where(n % 2, "F", "M"), "age": 20 + n, "f0_hz": 100.0 + n, "vtl_cm": 15 + n / 10}
    )
    return census.people_overview(
        people.assign(group=np.where(n % 3, "G1", "G2"), language=np.where(n % 4, "de", "fr"))
    )


FIGURES = (
    curve,
    duration_curve,
    confusion_matrices,
    craniofacial_bars,
    recall_curves,
    group_forest,
    negative_controls,
    gallery,
    spectrogram,
    scatter_projection,
    people_overview,
)
each_figure = pytest.mark.parametrize("draw", FIGURES, ids=lambda draw: draw.__name__)


def panels(figure):
    """The axes that hold data: not the bars of colours."""
    return [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]


@each_figure
def test_every_panel_says_what_its_axes_are(draw):
    figure = draw()
    assert isinstance(figure, Figure)
    for ax in panels(figure):
        if draw is gallery:
            continue
        named_rows = [label.get_text() for label in ax.get_yticklabels()]
        assert ax.get_xlabel()
        assert ax.get_ylabel() or all(named_rows)


def test_the_gallery_names_its_rows_and_its_people():
    true_left, true_right, voice_left, _ = panels(gallery())
    assert (true_left.get_ylabel(), voice_left.get_ylabel()) == ("true", "from voice")
    assert (true_left.get_title(), true_right.get_title()) == ("F 30", "M 50")


@pytest.mark.parametrize(
    "draw",
    [
        duration_curve,
        confusion_matrices,
        craniofacial_bars,
        recall_curves,
        group_forest,
        negative_controls,
        scatter_projection,
        people_overview,
    ],
)
def test_figures_of_results_say_how_many_speakers(draw):
    figure = draw()
    texts = [ax.get_title(loc="left") for ax in figure.axes]
    texts += [label.get_text() for ax in figure.axes for label in ax.get_yticklabels()]
    texts += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert any("n = " in text for text in texts)


@each_figure
def test_a_figure_is_saved_as_the_same_bytes_twice(draw, tmp_path):
    for suffix in (".png", ".svg") if draw is curve else (".png",):
        paths = [tmp_path / f"{turn}{suffix}" for turn in "ab"]
        for path in paths:
            style.save(draw(), path)
        first, second = (path.read_bytes() for path in paths)
        assert first == second and b"matplotlib version" not in first.lower()


def test_the_confusion_matrix_shows_shares_of_the_row_and_leaves_empty_rows_out():
    group = panels(confusion_matrices())[1]
    assert [text.get_text() for text in group.texts] == ["1.00", "0.00", "0.00", "0.50", "0.00", "0.50"]
    assert [label.get_text() for label in group.get_yticklabels()][1] == "G2  (n = 0)"


def test_whiskers_never_point_backwards():
    """An estimate may lie a rounding error outside its interval; matplotlib refuses negative lengths."""
    table = estimates(control=["a", "b", "c"], metric="auc", chance=0.5)
    scores.negative_controls(table.assign(low=table["value"] + 1e-15))


def test_groups_without_numbers_are_left_out():
    (ax,) = group_forest().axes
    rows = [label.get_text() for label in ax.get_yticklabels()]
    assert [row.split()[0] for row in rows] == ["F", "M", "G1", "G2"]
