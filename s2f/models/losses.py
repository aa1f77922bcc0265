"""Training losses of the voice encoder: the three terms of section 3, their weights, and baselines.

    first     ||f_dec(v_f) - f_dec(v_s)||_1
    cosine    lambda1 || v_f/||v_f|| - v_s/||v_s|| ||_2^2
    distill   lambda2 L(f_vgg(v_f), f_vgg(v_s)),  L(a, b) = -sum_i p_i(a) log p_i(b),  p(a) = softmax(a / T)

v_s are features predicted from speech and v_f those of the true faces. The paper does not state reductions. Here each
term is summed over its dimensions for each clip and then averaged over the batch, so that neither the value nor the
gradient of a clip depends on the other clips.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from s2f.study.paths import UserError

TEMPERATURE = 2.0
MATCH_TEMPERATURE = 0.3

Layer = Callable[[Tensor], Tensor]
Scalar = Float[Tensor, ""]

log = logging.getLogger(__name__)


class Weights(NamedTuple):
    """Weights of the cosine and distillation terms; the first term has weight 1."""

    lambda1: float
    lambda2: float


PAPER_WEIGHTS = Weights(lambda1=0.025, lambda2=200.0)

# The terms of the loss in each ablation, by the name of the loss in `params.yaml`.
KEPT = {
    "paper": ("first", "cosine", "distill"),
    "first_only": ("first",),
    "cosine_only": ("cosine",),
    "distill_only": ("distill",),
    "without_first": ("cosine", "distill"),
    "without_cosine": ("first", "distill"),
    "without_distill": ("first", "cosine"),
}


class Terms(NamedTuple):
    """The weighted sum of the kept terms, and the three terms before weighting."""

    total: Scalar
    first: Scalar
    cosine: Scalar
    distill: Scalar


def speech2face_loss(
    v_s: Float[Tensor, "batch feature_dim"],
    v_f: Float[Tensor, "batch feature_dim"],
    decoder_first: Layer,
    logits: Layer | None,
    weights: Weights = PAPER_WEIGHTS,
    kept: Collection[str] = KEPT["paper"],
) -> Terms:
    """The loss of the paper (section 3). No gradient flows back into v_f.

    Args:
        v_s: Features predicted from speech.
        v_f: Features of the true faces.
        decoder_first: First layer of the face decoder, `FaceDecoder.first`.
        logits: Identity scores of the face encoder, `FaceEncoder.logits`; None sets the distillation term to 0.
        weights: Weights of the cosine and distillation terms.
        kept: Names of the terms to sum; an ablation (`KEPT`) leaves some out, with the other weights unchanged.
    """
    first, cosine, distill = _terms(v_s, v_f, decoder_first, logits)
    weighted = {"first": first, "cosine": weights.lambda1 * cosine, "distill": weights.lambda2 * distill}
    return Terms(sum(weighted[name] for name in kept), first, cosine, distill)


def feature_l1(v_s: Float[Tensor, "batch feature_dim"], v_f: Float[Tensor, "batch feature_dim"]) -> Scalar:
    """L1 distance between features, averaged over the batch: the baseline that the paper found slow and unstable."""
    return (v_f.detach() - v_s).abs().sum(dim=1).mean()


def pixel_l1(drawn_s: Float[Tensor, "batch 3 size size"], drawn_f: Float[Tensor, "batch 3 size size"]) -> Scalar:
    """Mean absolute difference between the images decoded from v_s and v_f, in [0, 1]: the baseline of Fig. 8."""
    return (drawn_f.detach() - drawn_s).abs().mean()


class Matcher(nn.Module):
    """Two linear maps, of voice and face features, to a small space in which each voice is closest to its own face.

    This is not part of the paper, whose loss weights each direction of the feature by its magnitude; these maps learn
    to weight it by how well it can be predicted from voices. Both start as a whitening onto the largest principal
    components of the true features. The features themselves are left to the paper's loss, as faces are decoded from
    them.

    Args:
        face_features: Features of the true faces.
        dims: Dimension of the small space.
    """

    def __init__(self, face_features: Float[Tensor, "photos feature_dim"], dims: int = 12):
        super().__init__()
        mean = face_features.mean(dim=0)
        _, spread, directions = torch.linalg.svd(face_features - mean, full_matrices=False)
        whitening = directions[:dims] * (len(face_features) ** 0.5 / spread[:dims, None])
        self.register_buffer("mean", mean)
        self.voice, self.face = (nn.Parameter(whitening.clone()) for _ in range(2))

    @classmethod
    def restored(cls, state: Mapping[str, Tensor]) -> "Matcher":
        """Create a matcher from the `state_dict` of another."""
        matcher = cls(state["voice"], dims=len(state["voice"]))
        matcher.load_state_dict(state)
        return matcher

    def forward(
        self, v_s: Float[Tensor, "voices feature_dim"], v_f: Float[Tensor, "faces feature_dim"]
    ) -> Float[Tensor, "voices faces"]:
        """Cosine similarity of each voice with each face in the small space."""
        ours, theirs = (normalize((v - self.mean) @ maps.T, dim=1) for v, maps in ((v_s, self.voice), (v_f, self.face)))
        return ours @ theirs.T

    def score(
        self, queries: Float[np.ndarray, "queries feature_dim"], gallery: Float[np.ndarray, "gallery feature_dim"]
    ) -> Float[np.ndarray, "queries gallery"]:
        """Cosine similarities as arrays; usable as a metric of `s2f.metrics.retrieval`."""
        with torch.inference_mode():
            return self(*(torch.from_numpy(side).to(self.mean.device) for side in (queries, gallery))).cpu().numpy()


def contrastive(scores: Float[Tensor, "batch batch"], speakers: Shaped[Tensor, "batch"]) -> Scalar:
    """Symmetric contrastive loss: mean cross-entropy of matching each voice to its face and each face to its voice.

    `scores[i, j]` is the similarity of voice i and face j; matching pairs are on the diagonal. Other pairs of clips of
    the same speaker are masked out, as they are not negatives.
    """
    own = torch.arange(len(scores), device=scores.device)
    repeated = speakers[:, None] == speakers[None]
    repeated[own, own] = False
    logits = (scores / MATCH_TEMPERATURE).masked_fill(repeated, float("-inf"))
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2


def rebalance(
    v_s: Float[Tensor, "batch feature_dim"],
    v_f: Float[Tensor, "batch feature_dim"],
    decoder_first: Layer,
    logits: Layer | None,
) -> Weights:
    """Choose weights by the paper's rule: the gradients of all terms at v_s have equal norms early in training.

    The published weights balance the authors' own decoder. Norms are computed per clip, averaged over the batch, and
    logged. Arguments are those of `speech2face_loss`; without `logits`, lambda2 is 0.

    Raises:
        UserError: If the gradient of a term is zero, for example because the prediction is already exact.
    """
    v_s = v_s.detach().requires_grad_()
    terms = _terms(v_s, v_f, decoder_first, logits)
    named = dict(zip(KEPT["paper"], terms, strict=True))
    if logits is None:
        del named["distill"]
    norms = [gradient_norm(term, v_s, name) for name, term in named.items()]
    weights = Weights(lambda1=norms[0] / norms[1], lambda2=0.0 if logits is None else norms[0] / norms[2])
    log.info("gradient norms of %s: %s -> %s", ", ".join(named), ", ".join(f"{norm:.3g}" for norm in norms), weights)
    return weights


def gradient_norm(term: Scalar, v_s: Float[Tensor, "batch feature_dim"], name: str) -> float:
    """Norm of the gradient of a term at v_s, computed per clip and averaged over the batch.

    Args:
        term: Loss term, averaged over the batch.
        v_s: Features with `requires_grad`, on which `term` depends.
        name: Name of the term in the error message.

    Raises:
        UserError: If the norm is zero or NaN.
    """
    (gradient,) = torch.autograd.grad(term * len(v_s), v_s, retain_graph=True)
    norm = gradient.norm(dim=1).mean().item()
    if not norm > 0:
        raise UserError(f"The {name} term of the loss has no gradient on this batch: balance on another one.")
    return norm


def _terms(v_s: Tensor, v_f: Tensor, decoder_first: Layer, logits: Layer | None) -> tuple[Scalar, Scalar, Scalar]:
    with torch.no_grad():
        first_f, unit_f = decoder_first(v_f), normalize(v_f, dim=1)
    first = (first_f - decoder_first(v_s)).abs().sum(dim=1)
    cosine = (unit_f - normalize(v_s, dim=1)).square().sum(dim=1)
    if logits is None:
        return first.mean(), cosine.mean(), first.new_zeros(())
    with torch.no_grad():
        teacher = (logits(v_f) / TEMPERATURE).softmax(dim=1)
    distill = -(teacher * (logits(v_s) / TEMPERATURE).log_softmax(dim=1)).sum(dim=1)
    return first.mean(), cosine.mean(), distill.mean()
