"""Figures of the dose-response experiments name their axes and their speakers."""

import numpy as np
import pandas as pd
import pytest

from s2f.plots import doses, style
from s2f.signal.landmarks import MEASURES


@pytest.fixture(autouse=True)
def one_style():
    style.use()


def table(n_speakers=40, **levels):
    """A row for each combination of levels."""
    rows = pd.MultiIndex.from_product(levels.values(), names=levels).to_frame(index=False)
    value = np.linspace(0.2, 0.8, len(rows))
    return rows.assign(value=value, low=value - 0.1, high=value + 0.1, n_speakers=n_speakers)


def curves(world=True):
    found = table(axis=["pitch", "tract"], sex=["F", "M"], dose=[-5.0, 0.0, 5.0])
    return doses.dose_curves(found.assign(world=0.5) if world else found, "flipped", sham=0.1)


def slopes():
    return doses.dose_slopes(table(axis=["pitch", "tract"], response=MEASURES).assign(world=0.3))


def maps():
    return doses.cross_maps(table(sex=["F", "M"], semitones=[-5.0, 0.0, 5.0], percent=[-10.0, 0.0]))


@pytest.mark.parametrize("draw", [curves, slopes, maps])
def test_panels_are_named_and_speakers_counted(draw):
    figure = draw()
    panels = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    assert len(panels) == 2 and all(ax.get_xlabel() for ax in panels) and panels[0].get_ylabel()
    texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert any("n = 40" in text for text in texts + [ax.get_title(loc="left") for ax in panels])


def test_curves_show_the_world_only_where_it_is_known():
    known, unknown = (
        [text.get_text() for legend in curves(world).legends for text in legend.get_texts()] for world in (True, False)
    )
    assert set(known) - set(unknown) == {f"{sex}'s voices: expected in the world" for sex in ("women", "men")}


def test_steps_of_a_change_have_a_sign_and_thirds_have_none():
    change = curves().axes[0].get_xticklabels()
    thirds = table(axis=["third"], sex=["F", "M"], dose=[1, 2, 3])
    third = doses.dose_curves(thirds, "flipped").axes[0].get_xticklabels()
    assert [tick.get_text() for tick in change] == ["-5", "+0", "+5"]
    assert [tick.get_text() for tick in third] == ["1", "2", "3"]


def test_the_longest_tract_is_on_top():
    (women, *_) = maps().axes
    assert [tick.get_text() for tick in women.get_yticklabels()] == ["+0", "-10"]
    assert [text.get_text() for text in women.texts][0] == "0.25"  # the second combination: -5 semitones, 0 percent
