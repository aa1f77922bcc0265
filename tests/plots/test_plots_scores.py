"""Every figure is drawn from a small table, names its axes."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from s2f.fairness import audit
from s2f.metrics import attributes
from s2f.metrics.bootstrap import Resampling
from s2f.plots import census, forest, pictures, scores, style
from s2f.signal.landmarks import MEASURES


@pytest.fixture(autouse=True)
def one_style():
    style.use()


def estimates(n=3, **columns):
    value = np.linspace(0.3, 0.6, n)
    return pd.DataFrame({"value": value, "low": value - 0.1, "high": value + 0.1, "n_speakers": 40, **columns})


def curve():
    table = pd.DataFrame({"step": [0, 100, 200], "loss": [3.0, 2.0, 1.5], "val_loss": [3.1, 2.2, 1.8]})
    return scores.curve(table, "step", {"loss": "training", "val_loss": "validation"}, "step", "loss")


def duration_curve():
    table = estimates(seconds=[1.0, 3.0, 6.0], chance=0.1, ceiling=0.8)
    return scores.duration_curve(table, "recall among the first 10 of 100", {3.0: 0.385, 6.0: 0.458})


def confusion_matrices():
    """Nobody is in G2, and the classifier never met a G4."""
    group = pd.Series(["G1", "G3", "G3", "G4"]), pd.Series(["G1", "G1", "G3", "G1"])
    table = attributes.confusion(*group, ["G1", "G2", "G3"])
    return scores.confusion_matrices(dict.fromkeys(scores.COMPARED, table), "apparent_group")


def measures(**columns):
    return estimates(len(MEASURES), measure=MEASURES, random=0.02, **columns).rename(columns={"value": "r"})


def craniofacial_bars():
    return scores.craniofacial_bars(measures(ceiling=0.8), measures(paper=[np.nan] + [0.2] * (len(MEASURES) - 1)))


def recall_curves():
    long = estimates(k=[1, 5, 10], chance=[0.01, 0.05, 0.1], ceiling=0.9)
    return scores.recall_curves({"6 s": long, "3 s": estimates(k=[1, 5, 10])}, "K (first K of 100 faces)")


def ceiling_shares():
    columns = {"share_of_ceiling": [1.0, 0.6, 0.4], "share_low": [1.0, 0.5, 0.3], "share_high": [1.0, 0.7, 0.5]}
    return scores.ceiling_shares(pd.DataFrame(columns, index=list("abc")).assign(n_speakers=40), "recall")


def group_forest():
    rng = np.random.default_rng(1)
    groups = pd.DataFrame({"sex": rng.choice(["F", "M"], 60), "group": ["G1"] * 30 + ["G2"] * 25 + ["G3"] * 5})
    hits, speakers = rng.random(60), np.arange(60)
    table = audit.disaggregate(
        hits, groups, speakers, Resampling(seed=1, replicates=100), metric="recall", permutations=99
    )
    return forest.group_forest(table, "recall among the first 10 of 100")


def negative_controls():
    binary = estimates(control=["glasses", "background", "light"], metric="auc", chance=0.5)
    return scores.negative_controls(pd.concat([binary, estimates(1, control=["skin"], metric="r", chance=0.0)]))


def gallery():
    faces = np.zeros((2, 8, 8, 3), np.uint8)
    return pictures.gallery({"true": faces, "from voice": faces}, ["F 30", "M 50"])


def retrieved():
    people = np.arange(5 * 8 * 8 * 3, dtype=np.uint8).reshape(5, 8, 8, 3)
    own, found = np.array([3, 1]), np.array([[4, 3, 0], [0, 2, 4]])
    return pictures.retrieved(people[:2], people, own, found, ["rank 2 of 5", "rank 5 of 5"])


def spectrogram():
    return pictures.spectrogram(np.random.default_rng(1).random((2, 20, 257)))


def people_overview():
    n = np.arange(20)
    people = pd.DataFrame({"sex": np.where(n % 2, "F", "M"), "age": 20 + n, "f0_hz": 100.0 + n, "vtl_cm": 15 + n / 10})
    return census.people_overview(
        people.assign(group=np.where(n % 3, "G1", "G2"), language=np.where(n % 4, "de", "fr"))
    )


RESULTS = (
    duration_curve,
    confusion_matrices,
    craniofacial_bars,
    recall_curves,
    ceiling_shares,
    group_forest,
    negative_controls,
    people_overview,
)


def panels(figure):
    """The axes that hold data: not the bars of colours."""
    return [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]


@pytest.mark.parametrize("draw", [*RESULTS, curve, spectrogram], ids=lambda draw: draw.__name__)
def test_every_panel_says_what_its_axes_are(draw):
    figure = draw()
    assert isinstance(figure, Figure)
    for ax in panels(figure):
        named_rows = [label.get_text() for label in ax.get_yticklabels()]
        assert ax.get_xlabel()
        assert ax.get_ylabel() or all(named_rows)


def test_the_gallery_names_its_rows_and_its_people():
    true_left, true_right, voice_left, _ = panels(gallery())
    assert (true_left.get_ylabel(), voice_left.get_ylabel()) == ("true", "from voice")
    assert (true_left.get_title(), true_right.get_title()) == ("F 30", "M 50")


def test_the_true_face_is_framed_where_it_is_found():
    rows = np.reshape([ax for ax in panels(retrieved()) if ax.images], (2, 5))
    framed = [[ax.spines["left"].get_visible() for ax in row] for row in rows]
    assert framed == [[False, False, False, True, False], [False] * 5]
    assert [row[0].get_ylabel() for row in rows] == ["rank 2 of 5", "rank 5 of 5"]
    true, another, found = (rows[0, column].images[0].get_array() for column in (1, 2, 3))
    assert (found == true).all() and not (another == true).all()


@pytest.mark.parametrize("draw", RESULTS, ids=lambda draw: draw.__name__)
def test_figures_of_results_say_how_many_speakers(draw):
    figure = draw()
    texts = [ax.get_title(loc="left") for ax in figure.axes]
    texts += [label.get_text() for ax in figure.axes for label in ax.get_yticklabels()]
    texts += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert any("n = " in text for text in texts)


def test_the_confusion_matrix_shows_percent_of_the_row_and_says_which_rows_have_none():
    matrix = panels(confusion_matrices())[0]
    assert [text.get_text() for text in matrix.texts] == ["100", "0", "0", "50", "0", "50"]
    rows = [label.get_text() for label in matrix.get_yticklabels()]
    assert rows == ["G1  (n = 1)", "G2  (n = 0)", "G3  (n = 2)", "G4  (n = 1, not learned)"]


def test_the_paper_stands_beside_the_landmarks_that_were_detected():
    (ax,) = craniofacial_bars().axes
    ceiling, paper = ([line for line in ax.lines if line.get_label() == name] for name in ("ceiling", "paper"))
    assert len(ceiling) == len(paper) == 1
    assert ceiling[0].get_ydata()[0] > 0 > paper[0].get_ydata()[0]


def test_whiskers_never_point_backwards():
    """An estimate may lie a rounding error outside its interval; matplotlib refuses negative lengths."""
    table = estimates(control=["a", "b", "c"], metric="auc", chance=0.5)
    scores.negative_controls(table.assign(low=table["value"] + 1e-15))


def test_groups_without_numbers_are_left_out():
    (ax,) = group_forest().axes
    rows = [label.get_text() for label in ax.get_yticklabels()]
    assert [row.split()[0] for row in rows] == ["F", "M", "G1", "G2"]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_bytes_of_a_file_depend_on_the_figure_alone(suffix, tmp_path):
    """No date, no version, no random ids."""
    first, second = (tmp_path / f"{turn}{suffix}" for turn in "ab")
    for path in (first, second):
        style.save(curve(), path)
    assert first.read_bytes() == second.read_bytes() and b"matplotlib version" not in first.read_bytes().lower()
