"""The loss of the paper against its formula in NumPy; no clip's share depends on the clips beside it."""

import logging

import numpy as np
import pytest
import torch
from torch import nn

from s2f.models.losses import (
    KEPT,
    PAPER_WEIGHTS,
    Matcher,
    Weights,
    contrastive,
    feature_l1,
    pixel_l1,
    rebalance,
    speech2face_loss,
)
from s2f.study.paths import UserError


@pytest.fixture
def parts(rng):
    """v_s, v_f and the two frozen layers, float64 so that only the formula can differ."""
    torch.manual_seed(0)
    v_s, v_f = (torch.from_numpy(rng.standard_normal((5, 8))) for _ in range(2))
    return v_s, v_f, nn.Linear(8, 6).double(), nn.Linear(8, 7).double()


def reference(v_s, v_f, decoder_first, logits):
    """The terms, one clip after another."""

    def share(scores):
        return np.exp(scores / 2) / np.exp(scores / 2).sum()  # T = 2

    def dense(layer, v):
        return layer.weight.detach().numpy() @ v + layer.bias.detach().numpy()

    terms = []
    for s, f in zip(v_s.numpy(), v_f.numpy(), strict=True):
        first = np.abs(dense(decoder_first, f) - dense(decoder_first, s)).sum()
        cosine = ((f / np.linalg.norm(f) - s / np.linalg.norm(s)) ** 2).sum()
        distill = -(share(dense(logits, f)) * np.log(share(dense(logits, s)))).sum()
        terms.append((first, cosine, distill))
    return np.mean(terms, axis=0)


def test_the_published_weights():
    assert PAPER_WEIGHTS == (0.025, 200)


@pytest.mark.parametrize("weights", [PAPER_WEIGHTS, Weights(3.0, 0.5)])
def test_the_terms_are_those_of_the_formula(parts, weights):
    terms = speech2face_loss(*parts, weights)
    first, cosine, distill = reference(*parts)
    assert [terms.first.item(), terms.cosine.item(), terms.distill.item()] == pytest.approx([first, cosine, distill])
    assert terms.total.item() == pytest.approx(first + weights.lambda1 * cosine + weights.lambda2 * distill)


def test_feature_l1_is_the_sum_over_a_clip(parts):
    v_s, v_f, *_ = parts
    assert feature_l1(v_s, v_f).item() == pytest.approx(np.abs(v_s.numpy() - v_f.numpy()).sum() / 5)


def test_the_loss_of_a_batch_is_the_mean_over_its_clips(parts):
    v_s, v_f, *layers = parts
    batch = speech2face_loss(v_s, v_f, *layers)
    clips = [speech2face_loss(v_s[i : i + 1], v_f[i : i + 1], *layers) for i in range(len(v_s))]
    for name in batch._fields:
        assert getattr(batch, name).item() == pytest.approx(np.mean([getattr(clip, name).item() for clip in clips]))


def test_the_length_of_one_clip_s_feature_leaves_the_others_gradient_alone(parts):
    v_s, v_f, *layers = parts

    def gradient_of_first_clip(others):
        mixed = torch.cat([v_s[:1], others * v_s[1:]]).requires_grad_()
        speech2face_loss(mixed, v_f, *layers).total.backward()
        return mixed.grad[0]

    torch.testing.assert_close(gradient_of_first_clip(1), gradient_of_first_clip(1000))


def test_an_exact_prediction_leaves_the_teacher_s_entropy_alone(parts):
    _, v_f, *layers = parts
    terms = speech2face_loss(v_f, v_f, *layers)
    share = (layers[1](v_f) / 2).softmax(dim=1)
    assert terms.first.item() == terms.cosine.item() == 0
    assert terms.distill.item() == pytest.approx(-(share * share.log()).sum(dim=1).mean().item())


def test_nothing_flows_into_the_true_features(parts):
    v_s, v_f, *layers = parts
    v_s, v_f = v_s.requires_grad_(), v_f.requires_grad_()
    speech2face_loss(v_s, v_f, *layers).total.backward()
    feature_l1(v_s, v_f).backward()
    assert v_f.grad is None and v_s.grad.abs().sum() > 0


def test_rebalanced_terms_pull_equally(parts, caplog):
    v_s, v_f, *layers = parts
    with caplog.at_level(logging.INFO, logger="s2f.models.losses"):
        weights = rebalance(v_s, v_f, *layers)
    assert "gradient norms" in caplog.text
    v_s = v_s.clone().requires_grad_()
    terms = speech2face_loss(v_s, v_f, *layers)
    weighted = terms.first, weights.lambda1 * terms.cosine, weights.lambda2 * terms.distill
    norms = [torch.autograd.grad(term, v_s, retain_graph=True)[0].norm(dim=1).mean().item() for term in weighted]
    assert norms == pytest.approx([norms[0]] * 3)


def test_rebalancing_does_not_depend_on_the_batch_size(parts):
    v_s, v_f, *layers = parts
    assert rebalance(v_s.repeat(3, 1), v_f.repeat(3, 1), *layers) == pytest.approx(rebalance(v_s, v_f, *layers))


def test_a_term_without_gradient_cannot_be_balanced(parts):
    _, v_f, *layers = parts
    with pytest.raises(UserError, match="first term of the loss has no gradient"):
        rebalance(v_f, v_f, *layers)


@pytest.mark.parametrize("name", KEPT)
def test_an_ablation_keeps_its_terms_with_their_weights(parts, name):
    weights = Weights(3.0, 0.5)
    terms = speech2face_loss(*parts, weights, KEPT[name])
    weighted = {"first": terms.first, "cosine": 3 * terms.cosine, "distill": 0.5 * terms.distill}
    assert terms.total.item() == pytest.approx(sum(weighted[kept].item() for kept in KEPT[name]))
    assert terms[1:] == speech2face_loss(*parts, weights)[1:]


def test_pixel_l1_is_the_mean_over_pixels_and_leaves_the_target_alone(rng):
    drawn_s, drawn_f = (torch.from_numpy(rng.random((2, 3, 4, 4))).requires_grad_() for _ in range(2))
    loss = pixel_l1(drawn_s, drawn_f)
    assert loss.item() == pytest.approx(np.abs((drawn_s - drawn_f).detach().numpy()).mean())
    loss.backward()
    assert drawn_f.grad is None and drawn_s.grad.abs().sum() > 0


def test_contrastive_is_the_cross_entropy_of_the_own_pair(rng):
    scores, speakers = torch.from_numpy(rng.uniform(-1, 1, (4, 4))), torch.tensor([7, 3, 7, 5])
    terms = []
    for matrix in (scores.numpy() / 0.3, scores.numpy().T / 0.3):
        for row in range(4):
            rivals = [c for c in range(4) if c == row or speakers[c] != speakers[row]]
            terms.append(np.log(np.exp(matrix[row, rivals]).sum()) - matrix[row, row])
    assert contrastive(scores, speakers).item() == pytest.approx(np.mean(terms))


def test_a_matcher_starts_at_the_principal_components_and_compares_directions(rng):
    faces = torch.from_numpy(rng.normal(size=(200, 6)) * [9, 5, 3, 1, 1, 1] + 4)
    matcher = Matcher(faces, dims=2)
    space = ((faces - matcher.mean) @ matcher.voice.T).detach().numpy()
    np.testing.assert_allclose(np.cov(space.T, bias=True), np.eye(2), atol=1e-9)
    scores = matcher(faces[:3], 2 * faces[:3] - matcher.mean)
    np.testing.assert_allclose(np.diag(scores.detach()), 1)
