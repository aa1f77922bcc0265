"""Limits: the domain has the coverage that it states, the outside is drawn back, and like recordings tell the error."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from s2f.models import limits
from s2f.models.limits import Limits
from s2f.study.paths import UserError

DIM = 24
SPREAD = np.geomspace(5, 0.1, DIM)


def predictions(rng, n):
    return (3 + rng.normal(size=(n, DIM)) * SPREAD).astype(np.float32)


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(5)
    signs = rng.uniform(0, 20, (600, 4))
    signs[:, -1] /= 20  # degrees between the halves
    errors = 40 - signs[:, 0] + rng.normal(0, 1, 600)  # the first sign tells it
    return Limits.fit(predictions(rng, 1500), np.arange(1500) // 2, predictions(rng, 600), signs, errors)


def test_as_many_clean_recordings_lie_outside_as_stated(fitted):
    outside = (fitted.distance(predictions(np.random.default_rng(6), 20_000)) > 1).mean()
    # 1,500 clips put the quantile within 4 standard errors of 0.26 points.
    assert outside == pytest.approx(limits.OUTSIDE_SHARE, abs=4 * 0.0026)


def test_what_lies_outside_is_drawn_back_to_the_edge_and_the_rest_is_kept(fitted):
    near = fitted.mean[None] + 0.1 * SPREAD.astype(np.float32)
    np.testing.assert_allclose(fitted.drawn_back(near), near, rtol=1e-6)
    far = fitted.mean[None] + 1000 * SPREAD.astype(np.float32)
    drawn = fitted.drawn_back(far)
    np.testing.assert_allclose(fitted.distance(drawn), 1, rtol=1e-4)
    direction = (drawn - fitted.mean)[0]
    np.testing.assert_allclose(direction / np.linalg.norm(direction), SPREAD / np.linalg.norm(SPREAD), atol=1e-4)


def test_a_direction_in_which_nothing_varied_counts_as_well(fitted):
    along, across = np.eye(DIM, dtype=np.float32)[[0, -1]]
    assert fitted.distance((fitted.mean + 5 * across)[None]) > 3 * fitted.distance((fitted.mean + 5 * along)[None])


def test_the_expected_error_is_that_of_recordings_alike(fitted):
    centre = np.repeat(fitted.mean[None], 2, axis=0)
    signs = np.array([[2.0, 10, 10, 0.5], [18.0, 10, 10, 0.5]])
    (poor, _), (good, good_90) = fitted.expected_error(signs, centre)
    assert poor == pytest.approx(38, abs=5) and good == pytest.approx(22, abs=5)
    assert good_90 > good


def test_a_sign_that_is_not_known_does_not_count(fitted):
    signs = np.array([[18.0, 10, 10, np.nan]])
    assert fitted.expected_error(signs, fitted.mean[None])[0, 0] == pytest.approx(22, abs=5)


def test_halves_that_differ_widen_what_is_expected(fitted):
    signs = np.array([[18.0, 10, 10, 50]])
    ((median, high),) = fitted.expected_error(signs, fitted.mean[None])
    assert high == 50 > median


def test_a_caricature_along_any_direction_lies_outside(fitted):
    """Clean predictions reach 4 standard deviations in 1 of 16,000; beyond 8 along a single direction none does."""
    for direction, deviation in zip(fitted.directions, fitted.deviations, strict=True):
        assert fitted.distance((fitted.mean + 8 * deviation * direction)[None])[0] > 1


@pytest.mark.parametrize("broken", [{"errors": 0}, {"signs": 0, "errors": 0}, {"mean": 3}, {"radii": 1}])
def test_limits_that_do_not_fit_together_are_refused(broken, fitted, tmp_path):
    arrays = dict(vars(fitted)) | {name: getattr(fitted, name)[:rows] for name, rows in broken.items()}
    save_file({name: np.array(array, order="C") for name, array in arrays.items()}, tmp_path / "limits.safetensors")
    with pytest.raises(UserError, match="does not hold the limits"):
        Limits.load(tmp_path / "limits.safetensors")


def test_limits_are_read_back(fitted, tmp_path):
    fitted.save(tmp_path / "limits.safetensors")
    loaded = Limits.load(tmp_path / "limits.safetensors")
    far = predictions(np.random.default_rng(8), 5) * 9
    np.testing.assert_array_equal(loaded.drawn_back(far), fitted.drawn_back(far))


def test_speakers_of_one_recording_each_have_limits_too(tmp_path):
    rng = np.random.default_rng(2)
    clean, worse = predictions(rng, 20), predictions(rng, 60)
    signs = rng.normal(size=(60, 2))
    Limits.fit(clean, np.arange(20), worse, signs, np.abs(signs[:, 0])).save(tmp_path / "limits.safetensors")
    loaded = Limits.load(tmp_path / "limits.safetensors")
    assert np.isnan(loaded.same_speaker) and loaded.two_speakers > 0


def test_another_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="no file of arrays"):
        Limits.load(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a safetensors file"):
        Limits.load(tmp_path / "cut.safetensors")
