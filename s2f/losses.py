"""What the voice encoder is trained on: the three terms of section 3, their weights, the L1 baseline.

    first     ||f_dec(v_f) - f_dec(v_s)||_1
    cosine    lambda1 || v_f/||v_f|| - v_s/||v_s|| ||_2^2
    distill   lambda2 L(f_vgg(v_f), f_vgg(v_s)),  L(a, b) = -sum_i p_i(a) log p_i(b),  p(a) = softmax(a / T)

The paper does not state reductions. Here each term is summed over its dimensions for one clip and then
averaged over the batch, so that neither the value nor the gradient of a clip depends on the clips beside it.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from s2f.paths import UserError

TEMPERATURE = 2.0

Layer = Callable[[Tensor], Tensor]
Scalar = Float[Tensor, ""]

log = logging.getLogger(__name__)


class Weights(NamedTuple):
    """Weights of the second and third term; the first has weight 1."""

    lambda1: float
    lambda2: float


PAPER_WEIGHTS = Weights(lambda1=0.025, lambda2=200.0)


class Terms(NamedTuple):
    """The weighted sum, and the three terms before weighting."""

    total: Scalar
    first: Scalar
    cosine: Scalar
    distill: Scalar


def speech2face_loss(
    v_s: Float[Tensor, "batch feature_dim"],
    v_f: Float[Tensor, "batch feature_dim"],
    decoder_first: Layer,
    logits: Layer,
    weights: Weights = PAPER_WEIGHTS,
) -> Terms:
    """The loss of the paper, of features predicted from speech (v_s) against those of the true faces (v_f).

    `decoder_first` is `FaceDecoder.first`, `logits` is `FaceEncoder.logits`; nothing flows back into v_f.
    """
    first, cosine, distill = _terms(v_s, v_f, decoder_first, logits)
    return Terms(first + weights.lambda1 * cosine + weights.lambda2 * distill, first, cosine, distill)


def feature_l1(v_s: Float[Tensor, "batch feature_dim"], v_f: Float[Tensor, "batch feature_dim"]) -> Scalar:
    """The baseline that the paper found slow and unstable: L1 between the features themselves."""
    return (v_f.detach() - v_s).abs().sum(dim=1).mean()


def rebalance(
    v_s: Float[Tensor, "batch feature_dim"],
    v_f: Float[Tensor, "batch feature_dim"],
    decoder_first: Layer,
    logits: Layer,
) -> Weights:
    """Weights by the paper's rule: early in training the terms' gradients at v_s shall have norms alike.

    The published weights balance the authors' own decoder. Norms are those of single clips, averaged over the
    batch, and logged. UserError if a term has no gradient here, as when the prediction is already exact.
    """
    v_s = v_s.detach().requires_grad_()
    norms = []
    for name, term in zip(
        ("first", "cosine", "distill"), _terms(v_s, v_f, decoder_first, logits), strict=True
    ):
        (gradient,) = torch.autograd.grad(term * len(v_s), v_s)
        norms.append(gradient.norm(dim=1).mean().item())
        if not norms[-1] > 0:
            raise UserError(
                f"The {name} term of the loss has no gradient on this batch: balance on another one."
            )
    weights = Weights(lambda1=norms[0] / norms[1], lambda2=norms[0] / norms[2])
    log.info("gradient norms: first %.3g, cosine %.3g, distill %.3g -> %s", *norms, weights)
    return weights


def _terms(v_s: Tensor, v_f: Tensor, decoder_first: Layer, logits: Layer) -> tuple[Scalar, Scalar, Scalar]:
    with torch.no_grad():
        first_f, unit_f = decoder_first(v_f), normalize(v_f, dim=1)
        teacher = (logits(v_f) / TEMPERATURE).softmax(dim=1)
    first = (first_f - decoder_first(v_s)).abs().sum(dim=1)
    cosine = (unit_f - normalize(v_s, dim=1)).square().sum(dim=1)
    distill = -(teacher * (logits(v_s) / TEMPERATURE).log_softmax(dim=1)).sum(dim=1)
    return first.mean(), cosine.mean(), distill.mean()
