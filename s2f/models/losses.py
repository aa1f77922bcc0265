"""What the voice encoder is trained on: the three terms of section 3, their weights, and what they are compared with.

    first     ||f_dec(v_f) - f_dec(v_s)||_1
    cosine    lambda1 || v_f/||v_f|| - v_s/||v_s|| ||_2^2
    distill   lambda2 L(f_vgg(v_f), f_vgg(v_s)),  L(a, b) = -sum_i p_i(a) log p_i(b),  p(a) = softmax(a / T)

The paper does not state reductions. Here each term is summed over its dimensions for one clip and then
averaged over the batch, so that neither the value nor the gradient of a clip depends on the clips beside it.
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
    """Weights of the second and third term; the first has weight 1."""

    lambda1: float
    lambda2: float


PAPER_WEIGHTS = Weights(lambda1=0.025, lambda2=200.0)

# Which terms the paper's loss keeps in an ablation, by the name of the loss in `params.yaml`.
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
    """The weighted sum of the kept terms, and all three before weighting."""

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
    """The loss of the paper, of features predicted from speech (v_s) against those of the true faces (v_f).

    `decoder_first` is `FaceDecoder.first`, `logits` is `FaceEncoder.logits`; nothing flows back into v_f. Of an
    ablation only the `kept` terms are in the sum, with the weights that they would have beside the others.
    """
    first, cosine, distill = _terms(v_s, v_f, decoder_first, logits)
    weighted = {"first": first, "cosine": weights.lambda1 * cosine, "distill": weights.lambda2 * distill}
    return Terms(sum(weighted[name] for name in kept), first, cosine, distill)


def feature_l1(v_s: Float[Tensor, "batch feature_dim"], v_f: Float[Tensor, "batch feature_dim"]) -> Scalar:
    """The baseline that the paper found slow and unstable: L1 between the features themselves."""
    return (v_f.detach() - v_s).abs().sum(dim=1).mean()


def pixel_l1(drawn_s: Float[Tensor, "batch 3 size size"], drawn_f: Float[Tensor, "batch 3 size size"]) -> Scalar:
    """The baseline of Fig. 8: absolute difference of the pictures drawn from v_s and from v_f, in [0, 1]."""
    return (drawn_f.detach() - drawn_s).abs().mean()


class Matcher(nn.Module):
    """Our addition: two linear maps to a small space in which a voice is closest to its own face.

    The paper's loss weighs each direction of the feature by its size; these maps learn to weigh it by what voices tell
    of it. They start at the largest principal components of the true features, and leave the features themselves to the
    paper's loss, since faces are drawn from them.
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
        """The matcher whose `state_dict` this was."""
        matcher = cls(state["voice"], dims=len(state["voice"]))
        matcher.load_state_dict(state)
        return matcher

    def forward(
        self, v_s: Float[Tensor, "voices feature_dim"], v_f: Float[Tensor, "faces feature_dim"]
    ) -> Float[Tensor, "voices faces"]:
        """Cosine of each voice with each face in the small space."""
        ours, theirs = (normalize((v - self.mean) @ maps.T, dim=1) for v, maps in ((v_s, self.voice), (v_f, self.face)))
        return ours @ theirs.T

    def score(
        self, queries: Float[np.ndarray, "queries feature_dim"], gallery: Float[np.ndarray, "gallery feature_dim"]
    ) -> Float[np.ndarray, "queries gallery"]:
        """The same as a metric of `s2f.metrics.retrieval`."""
        with torch.inference_mode():
            return self(*(torch.from_numpy(side).to(self.mean.device) for side in (queries, gallery))).cpu().numpy()


def contrastive(scores: Float[Tensor, "batch batch"], speakers: Shaped[Tensor, "batch"]) -> Scalar:
    """Cross-entropy of picking the own face for each voice, and the own voice for each face, in the batch.

    Pairs of different clips of one speaker are left out: they are no wrong answers.
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
    """Weights by the paper's rule: early in training the terms' gradients at v_s shall have norms alike.

    The published weights balance the authors' own decoder. Norms are those of single clips, averaged over the
    batch, and logged. UserError if a term has no gradient here, as when the prediction is already exact.
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
    """Norm of a term's gradient at v_s, of single clips, averaged over the batch; UserError if there is none."""
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
