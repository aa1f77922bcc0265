"""Linear face decoders draw faces that they have not seen, and no decoder draws its own people."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from linear_reader import LinearReader
from out_of_fold import out_of_fold

from s2f.heads import drawing, ridge
from s2f.models import linear_decoder
from s2f.models.linear_decoder import Aim, Canonical, LinearDecoder
from s2f.signal.warping import landmark_spline, warp
from s2f.study.paths import UserError

SIZE = 32


@pytest.fixture
def painted(rng):
    """Faces that are linear in three numbers: one paints them, two move landmarks; and features of their pictures."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    features = rng.normal(size=(80, 3))
    mean = rng.uniform(0.2, 0.8, (68, 2)) * SIZE
    moves = 0.5 * np.stack([np.ones((68, 2)), (mean - SIZE / 2) / SIZE * 4])
    landmarks = mean + np.tensordot(features[:, 1:], moves, 1)
    textures = 0.5 + 0.3 * np.sin(6 * x + 4 * y) + 0.08 * features[:, 0, None, None] * np.cos(9 * y)
    flow = landmark_spline(torch.from_numpy(mean), SIZE) @ torch.from_numpy(landmarks - mean)
    flow = flow.mT.unflatten(2, (SIZE, SIZE)).float()
    images = warp(torch.from_numpy(textures).float()[:, None].expand(-1, 3, -1, -1), flow)
    images = (255 * images).round().byte().permute(0, 2, 3, 1).numpy()
    return features, images, landmarks, features + 1


SETTINGS = drawing.Settings(
    penalties=[0.01, 1.0],
    emphases=[0.0, 0.3],
    components=5,
    exaggeration=0.0,
    directions=3,
    trait_spread=1.0,
    gains=(1.0, 1.0),
    anchor=0.05,
    traits=0.5,
    steps=40,
    batch=16,
)


def apart(drawn, images):
    return np.abs(drawn.astype(float) - images).mean()


def learned(painted, rows=slice(None), exaggeration=0.0):
    """A decoder of these faces as regressions have it; the only trait is the first number."""
    features, images, landmarks, _ = (part[rows] for part in painted)
    parts, coefficients = linear_decoder.parts(images, landmarks, 5, 5)
    aim = Aim.of(features, features[:, :1], features, exaggeration, 0.0, 3, 1.0)
    return LinearDecoder(parts, linear_decoder.start(features, features, coefficients, 5, aim, (1.0, 1.0)))


def test_a_linear_decoder_draws_faces_that_it_has_not_seen(painted):
    features, images, landmarks, _ = painted
    decoder = learned(painted, slice(60))
    drawn = decoder.draw(features[60:], 0.0)
    assert drawn.shape == images[60:].shape
    # Two warps and two roundings lie between: some steps of 255, while these faces differ from their mean by many.
    assert apart(drawn, images[60:]) < 2.5 < apart(images[:60].mean(axis=0), images[60:]) / 3
    np.testing.assert_allclose(decoder.landmarks(decoder.coefficients(features[60:], 0.0)), landmarks[60:], atol=0.2)


def test_predictions_are_exaggerated_no_further_than_true_faces_vary(rng):
    """Three directions, of which predictions have all, a half and an eighth of the spread."""
    faces = rng.normal(size=(4000, 3)) * (3, 2, 1)
    faces -= faces.mean(axis=0)
    predicted = faces * (1, 0.5, 0.125)
    stretched = predicted @ linear_decoder.exaggerating(faces, predicted, 3.0, 0.0)
    # The directions are those of a sample: off by a fiftieth.
    np.testing.assert_allclose(stretched.std(axis=0) / faces.std(axis=0), [1, 1, 0.5], rtol=0.02)


def test_directions_in_which_faces_vary_little_are_emphasised(rng):
    faces = rng.normal(size=(4000, 3)) * (3, 2, 1)
    faces -= faces.mean(axis=0)
    predicted = faces / 10
    stretched = predicted @ linear_decoder.exaggerating(faces, predicted, 0.0, 0.5)
    assert stretched.var(axis=0).sum() == pytest.approx(predicted.var(axis=0).sum(), rel=0.01)
    # The power -1/2 of the variance makes all spreads alike, but for the floor under it.
    assert stretched.std(axis=0).max() / stretched.std(axis=0).min() < 1.1


def test_drawings_are_exaggerated_from_the_mean(painted):
    features = painted[0]
    decoder, mean, one = learned(painted, exaggeration=1.0), features.mean(axis=0), features[:1]
    assert np.array_equal(decoder.draw(one), decoder.draw(one, 1.0))
    far, moved = decoder.coefficients(one, 1.5), decoder.coefficients(mean + 2.5 * (one - mean), 0.0)
    np.testing.assert_allclose(far, moved, rtol=1e-9)


def test_drawings_start_at_what_is_to_be_expected(rng):
    """Least squares on two directions of the prediction and a trait; texture and landmarks by their own factors."""
    faces, noise = rng.normal(size=(2, 400, 4))
    predicted = 0.5 * (faces + noise)
    traits, coefficients = faces[:, 3:] + rng.normal(size=(400, 1)), faces @ rng.normal(size=(4, 7))
    aim = Aim.of(faces, traits, predicted, 1.0, 0.0, 2, 1.0)
    made = linear_decoder.start(faces, predicted, coefficients, 3, aim, (2.0, 3.0))
    away = predicted - faces.mean(axis=0)
    known = np.column_stack([away @ aim.stretch, away @ aim.leaning, np.ones(400)])
    expected = known @ np.linalg.lstsq(known, coefficients, rcond=None)[0]
    one = made.around(predicted[0], predicted[:1])
    np.testing.assert_allclose(one[0], expected[0], atol=1e-6)
    mean = made.coefficients(made.mean[None])
    np.testing.assert_allclose(
        made.coefficients(predicted) - mean, (expected - mean) * ([2.0] * 3 + [3.0] * 4), atol=1e-6
    )


def test_traits_lean_as_far_as_asked(rng):
    """Of a trait that predictions tell little of, drawings vary one and a half times as much as the truth."""
    faces, noise = rng.normal(size=(2, 400, 4))
    traits, predicted = faces[:, :1] + rng.normal(size=(400, 1)), 0.3 * (faces + noise)
    aim = Aim.of(faces, traits, predicted, 1.0, 0.0, 2, 1.5)
    leaning = (predicted - aim.mean) @ aim.leaning
    assert leaning.std() == pytest.approx(1.5 * traits.std())
    # Half of the variance is noise of the trait, half of the rest noise of the prediction.
    assert np.corrcoef(leaning[:, 0], traits[:, 0])[0, 1] == pytest.approx(0.5, abs=3 * 400**-0.5)


def test_far_exaggerations_stay_between_black_and_white(painted):
    far = learned(painted).draw(painted[0][:4], 400.0)
    assert linear_decoder.DARKEST <= far.min() and far.max() == 255


def test_a_decoder_is_its_arrays(painted):
    decoder = learned(painted)
    again = LinearDecoder.of(decoder.arrays() | {"another": np.zeros(1)})
    assert np.array_equal(again.draw(painted[0]), decoder.draw(painted[0]))


def test_drawing_needs_neither_torch_nor_scipy_nor_scikit_learn():
    left_out = ("torch", "scipy", "sklearn", "pandas")
    code = f"import sys; import s2f.models.linear_decoder; print([m for m in {left_out} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_faces_are_moved_to_one_distance_from_their_mean(rng):
    faces = rng.normal(size=(50, 3)) + 2
    moved, mean = drawing.directions(faces), faces.mean(axis=0)
    away, before = moved - mean, faces - mean
    lengths = np.linalg.norm(before, axis=1)
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), lengths.mean())
    np.testing.assert_allclose(away * (lengths / lengths.mean())[:, None], before)


@pytest.fixture
def canonical(painted):
    features, images, landmarks, read = painted
    return Canonical(images, landmarks, read, features[:, :1])


def test_drawn_faces_are_of_other_peoples_decoders(painted, canonical, rng, tmp_path):
    features = painted[0]
    fold = ridge.folds(np.arange(80), 4, seed=0)
    voice = [features + 0.1 * rng.normal(size=features.shape)]

    def draw(faces):
        pairs = drawing.Pairs(voice, faces, faces[:, :1], canonical, fold)
        made = drawing.draw(pairs, SETTINGS, tmp_path, 1, LinearReader)
        return made[0].reshape(80, -1)

    drawn = out_of_fold(draw, features, fold).reshape(canonical.pictures.shape)
    # Directions alone are learned, so faces far out are drawn nearer to the mean: half of the way is found.
    assert apart(drawn, canonical.pictures) < apart(canonical.pictures.mean(axis=0), canonical.pictures) / 2


def test_faces_of_other_people_are_drawn(painted, canonical):
    features, fold = painted[0], ridge.folds(np.arange(60), 4, seed=0)
    known = canonical.of(np.arange(80) < 60)
    voice, others = [features[:60]], [features[60:]]
    pairs = drawing.Pairs(voice, features[:60], features[:60, :1], known, fold)
    drawn = drawing.learn(pairs, SETTINGS, LinearReader).draw(others[0])
    mean, true = canonical.pictures.mean(axis=0), canonical.pictures[60:]
    assert apart(drawn, true) < apart(mean, true) / 2


def test_the_penalty_that_finds_most_faces_is_chosen(rng):
    """A voice of many numbers, few of which tell of the face: without a penalty the others drown them."""
    told, rest, faces = rng.normal(size=(120, 4)), rng.normal(size=(120, 60)), rng.normal(size=(120, 4))
    faces = told + 0.3 * faces
    fold = ridge.folds(np.arange(120), 4, seed=0)
    chosen = drawing.choose([np.hstack([told, rest])], faces, fold, SETTINGS._replace(penalties=[1e-6, 0.3]))
    assert chosen.penalty == 0.3
    plain = ridge.predict([np.hstack([told, rest])], drawing.directions(faces), fold, penalties=[0.3])
    assert np.array_equal(chosen.predicted, plain)


@pytest.fixture
def read_otherwise(rng):
    """True faces, traits, predictions and coefficients, and a reader of drawings that is not linear."""
    faces, noise = rng.normal(size=(2, 300, 4))
    predicted, traits = 0.5 * (faces + noise), faces[:, :1]
    coefficients = np.hstack([faces, rng.normal(size=(300, 4))])
    true = torch.from_numpy(rng.normal(size=(8, 4))).float()

    def reader(drawn):
        features = torch.tanh(drawn @ true)
        return features, features[:, :1]

    aim = Aim.of(faces, traits, predicted, 1.0, 0.0, 4, 1.0)
    start = linear_decoder.start(faces, predicted, coefficients, 5, aim, (1.0, 1.0))
    return start, aim, reader, predicted, traits


def test_refined_drawings_read_nearer_to_what_was_meant(read_otherwise):
    start, aim, reader, predicted, traits = read_otherwise
    chosen = SETTINGS._replace(traits=0.0, anchor=0.0, steps=300)
    learned, history = drawing.refined(start, aim, reader, predicted, traits, chosen)
    meant = (predicted - aim.mean) @ aim.stretch

    def missed(synthesis):
        with torch.no_grad():
            read = reader(torch.from_numpy(synthesis.coefficients(predicted)).float())[0].numpy()
        return np.square(read - read.mean(axis=0) - meant).sum() / np.square(meant).sum()

    assert missed(learned) < missed(start) * 0.8
    # What training reports for its last batches is what drawings of these people then read as.
    assert history["feature"].tail(50).mean() == pytest.approx(missed(learned), abs=0.1)
    assert len(history) == chosen.steps


def test_a_heavy_anchor_leaves_the_start_as_it_is(read_otherwise):
    start, aim, reader, predicted, traits = read_otherwise
    learned, _ = drawing.refined(start, aim, reader, predicted, traits, SETTINGS._replace(anchor=1e6, steps=200))
    moved = learned.coefficients(predicted) - start.coefficients(predicted)
    # Adam takes steps of about its rate, here a hundredth falling to zero, whatever the gradient.
    assert np.abs(moved).mean() < 0.02


def test_single_faces_vary_about_the_average_as_true_faces_do(painted):
    features, decoder = painted[0], learned(painted)
    average, people = features[0], features[1:5]
    drawn = decoder.around(average, people)
    centre = decoder.coefficients(average[None], 0.0)
    np.testing.assert_allclose(drawn - centre, (people - average) @ decoder.synthesis.regression, atol=1e-12)


def test_too_few_faces_is_one_sentence(painted):
    with pytest.raises(UserError, match="30 faces are too few for 40 components"):
        linear_decoder.parts(painted[1][:30], painted[2][:30], 20)
