"""Skin tone of known colours."""

import numpy as np
import pytest

from s2f.signal import colour


def test_skin_tone_of_known_colours():
    assert colour.lab(np.array([255, 255, 255], np.uint8)) == pytest.approx([100, 0, 0], abs=0.02)
    assert colour.lab(np.array([255, 0, 0], np.uint8)) == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    landmarks = np.zeros((2, 68, 2))
    for outline, lid, nose in colour.CHEEKS:
        landmarks[:, [outline, lid, nose]] = [[5, 5], [40, 8], [35, 45]]
    landmarks[1] = np.nan
    light = np.full((60, 60, 3), (224, 190, 170), np.uint8)
    tones = colour.angles([light, light], landmarks)
    lightness, a, b = colour.lab(light[0, 0])
    assert tones[0] == pytest.approx(np.degrees([np.arctan2(lightness - 50, b), np.arctan2(b, a)]))
    assert np.isnan(tones[1]).all()
    dark = colour.angles([light // 3], landmarks[:1])[0]
    assert dark[0] < 0 < tones[0, 0]
