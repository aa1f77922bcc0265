"""A model to keep: its head is the regression, and predictions for its own people come from heads without them."""

import numpy as np
import pandas as pd
import tiny_models
from linear_reader import LinearReader

from s2f.heads import kept, ridge
from s2f.heads.drawing import Pairs, Settings, directions
from s2f.models import linear_decoder, speech2face
from s2f.models.linear_decoder import Canonical, LinearDecoder
from s2f.models.speech2face import Head, Speech2Face

SETTINGS = Settings(
    penalties=[0.01],
    emphases=[0.0],
    components=5,
    exaggeration=1.0,
    directions=8,
    trait_spread=1.0,
    gains=(1.0, 1.0),
    anchor=0.05,
    traits=0.5,
    steps=5,
    moves=5,
)


def pairs(rng, people=60, size=16):
    # Blocks of the widths of the speaker networks, most of them zero: a regression on few people and many numbers.
    signal = rng.normal(size=(people, 8))
    voice = [np.pad(signal + rng.normal(0, 0.1, signal.shape), ((0, 0), (0, width - 8))) for width in (192, 1024, 256)]
    faces = 3 + signal
    pictures = rng.integers(60, 200, (people, size, size, 3), dtype=np.uint8)
    landmarks = rng.uniform(4, 12, (68, 2)) + rng.normal(0, 0.2, (people, 68, 2))
    traits = np.column_stack([40 + 10 * signal[:, 0], 30 + signal[:, 2]])
    return Pairs(voice, faces, traits, Canonical(pictures, landmarks, faces, traits), np.arange(people) % 4)


def test_the_head_is_the_regression_as_one_map(rng):
    known = pairs(rng)
    regression, voice = ridge.fit(known.voice, known.faces), np.hstack(known.voice)
    head = kept.head(regression, known.faces, voice.shape[1])
    plain = regression.predict(voice) - known.faces.mean(axis=0)
    # float32 sums of 1,472 products of size one, scaled by features of size one.
    np.testing.assert_allclose(head(voice.astype(np.float32)), plain, rtol=0, atol=1472 * 2**-22)
    np.testing.assert_allclose(head.mean, known.faces.mean(axis=0), rtol=1e-6)


def test_predictions_are_those_of_the_regression_out_of_fold(rng):
    known = pairs(rng)
    found = kept.predicted(known.voice, known.fold, kept.heads(known.voice, known.faces, known.fold, SETTINGS))
    for part in range(4):
        others = known.fold != part
        target, mean = directions(known.faces[others]), known.faces[others].mean(axis=0)
        regression = ridge.fit([block[others] for block in known.voice], target, penalties=SETTINGS.penalties)
        plain = regression.predict(np.hstack(known.voice)[~others]) - mean
        np.testing.assert_allclose(found[~others], plain, rtol=0, atol=1472 * 2**-22)


def test_what_is_written_draws_a_face(tiny, tmp_path, rng, spoken):
    known = pairs(rng)
    held_out = kept.predicted(known.voice, known.fold, kept.heads(known.voice, known.faces, known.fold, SETTINGS))
    for name in ("campplus.onnx", "ge2e.onnx", speech2face.LIMITS):
        (tmp_path / name).write_bytes((tiny.folders["regression"] / name).read_bytes())
    female = known.faces[:, 1] > 3
    kept.write(tmp_path, known, female, held_out, SETTINGS, LinearReader)
    speech2face.write_card(tmp_path, "regression", "60 invented people", True, 0.5, 2.0, tiny_models.RIGHT)
    system = Speech2Face.load(tmp_path)
    face = system.face(spoken(4))
    assert face.image.shape == (16, 16, 3) and face.age is not None and 0 <= face.female <= 1
    # The residuals are the noise of the voices, and how far a face lies from the mean, which is not predicted: .7.
    assert system.spread.deviations.max() < 1


def test_single_faces_differ_as_true_ones_do(rng):
    """Of three coefficients one stands in the feature, one half, and one not at all."""
    faces = rng.normal(size=(400, 4))
    noise = rng.normal(size=(400, 2))
    coefficients = np.column_stack([faces[:, 0], (faces[:, 1] + noise[:, 0]) / 2**0.5, noise[:, 1]])
    regression = linear_decoder.ridge(faces, coefficients)
    parts = linear_decoder.Parts(*[np.zeros(1)] * 5)
    plain = linear_decoder.Synthesis(
        np.zeros(4), np.zeros((4, 3)), np.zeros(3), np.zeros((4, 3)), regression, np.zeros(())
    )
    varied = kept.varying(LinearDecoder(parts, plain), faces)
    drawn = varied.around(np.zeros(4), faces).std(axis=0)
    np.testing.assert_allclose(drawn[:2], coefficients[:, :2].std(axis=0), rtol=3 * 400**-0.5)
    assert drawn[2] < 0.5


def test_limits_are_learned_from_copies_that_were_not_refused(rng):
    dim, copies = 8, pd.DataFrame({"clip": [0, 0, 1, 1], "condition": ["clean", "noise"] * 2})
    copies["refused"] = [False, False, False, True]
    quality = {"dynamics": 1.0, "treble": 2.0, "crest": 3.0}
    seen = [
        speech2face.Embedded(3.0, values.astype(np.float32), np.empty((0, dim), np.float32), quality)
        for values in rng.normal(size=(3, dim))
    ]
    made = Head(np.eye(dim, dtype=np.float32), np.zeros(dim, np.float32), np.zeros(dim, np.float32))
    found = kept.limits(rng.normal(size=(30, dim)), np.arange(30) // 2, copies, [*seen, None], [made] * 4)
    assert len(found.errors) == 1
    a, b = (one.whole / np.linalg.norm(one.whole) for one in seen[:2])
    np.testing.assert_allclose(found.errors[0], np.degrees(np.arccos(a @ b)), rtol=1e-4)
