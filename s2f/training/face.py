"""Training of the face model: the encoder of photographs and the decoder that draws canonical faces."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional as F

from s2f.data.batches import as_images, chunks, rows_of, shifted, tensors
from s2f.models import face_decoder, face_encoder
from s2f.models.face_decoder import FaceDecoder
from s2f.models.face_encoder import AnyFaceEncoder, DlibEncoder, FaceEncoder, load_vgg_face
from s2f.study import code, config
from s2f.study.paths import UserError
from s2f.study.precision import low_precision
from s2f.training.loop import cosine, fingerprint, fit, seeded

SIZES = {"small": face_encoder.small, "large": face_encoder.large}
GAIN = 0.1  # largest relative change of a photograph's brightness
# Of the decoder's terms, to bring them to one scale: errors of landmarks are in image sizes.
DECODER_WEIGHTS = {"image": 1.0, "landmarks": 1000.0, "feature": 0.1}
# Of the face encoder: the canonical face weighs more than the identity, which is easy.
FACE_WEIGHT = 64.0
LABEL_SMOOTHING = 0.1
FACE_CODES = 24  # principal components of the landmarks, and of the thumbnail
THUMBNAIL = 16  # px
CURVE_ROWS = 20


class FaceLearner(nn.Module):
    """A face encoder and, for its training only, a linear layer that reads the canonical face from its feature."""

    def __init__(self, encoder: FaceEncoder, codes: int):
        super().__init__()
        self.encoder = encoder
        self.read_face = nn.Linear(encoder.config.feature_dim, codes)

    def forward(
        self, images: Float[Tensor, "batch 3 size size"]
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch codes"]]:
        """Identity scores before the softmax, and the predicted codes of the canonical face (`face_codes`)."""
        feature = self.encoder(images)
        return self.encoder.logits(feature), self.read_face(feature)


def train_face_encoder(
    photos: UInt8[np.ndarray, "photos size size 3"],
    identities: Int64[np.ndarray, "photos"],
    canonical: UInt8[np.ndarray, "people size size 3"],
    landmarks: Float32[np.ndarray, "people 68 2"],
    cfg: config.FaceModel,
    *,
    device: torch.device,
    **run,
) -> FaceEncoder:
    """Learn who is in a photograph, and what their canonical face looks like.

    The identities alone, as VGG-Face had them, are not enough when they are some thousand and not 2.6 million
    photographs: hair and eye colour tell them all apart, and the feature loses the shape of the face. So it must also
    let a linear layer read the canonical face.

    photos, identities: RGB photographs, and the row of each one's person in `canonical` and `landmarks`.
    canonical, landmarks: each person's frontal, neutral, evenly lit face, and its landmarks, px.
    device, run: where to train, and `checkpoint`, `log` and `live` of `s2f.training.loop.fit`.

    The last photograph of every tenth person is held out for validation. UserError if a person has one photograph only.
    """
    train, val = _split_photos(identities)
    codes = face_codes(canonical, landmarks)
    with seeded(cfg.seed, device):
        encoder = FaceEncoder(SIZES[cfg.feature](len(np.unique(identities)), photos.shape[1]))
        model = FaceLearner(encoder, codes.shape[1]).to(memory_format=torch.channels_last)

    def batch_of(step):
        rows = train[rows_of(step, cfg.encoder_batch, len(train), cfg.seed)]
        draw = np.random.default_rng([cfg.seed, 1, step])
        gain = draw.uniform(1 - GAIN, 1 + GAIN, (len(rows), 1, 1, 1)).astype(np.float32)
        return tensors(shifted(photos, rows, draw), gain, identities[rows], codes[identities[rows]])

    def loss_of(model, _step, photos, gain, identity, code):
        terms, _ = terms_of(model, (as_images(photos) * gain).clamp(max=1), identity, code)
        return terms

    def terms_of(model, images, identity, code):
        with low_precision(device, cfg.precision):
            scores, predicted = (output.float() for output in model(images))
        terms = {
            "identity": F.cross_entropy(scores, identity, label_smoothing=LABEL_SMOOTHING),
            "face": F.mse_loss(predicted, code),
        }
        return {"loss": terms["identity"] + FACE_WEIGHT * terms["face"]} | terms, scores

    def validate(model):
        rows = []
        for part in (val[part] for part in chunks(len(val), cfg.encoder_batch)):
            batch = tensors(photos[part], identities[part], codes[identities[part]])
            images, identity, code = (tensor.to(device) for tensor in batch)
            terms, scores = terms_of(model, as_images(images), identity, code)
            rows.append(terms | {"accuracy": (scores.argmax(dim=1) == identity).float().mean()})
        return _means(rows)

    key = _fingerprint(train_face_encoder, cfg, "decoder", device, photos, identities, codes)
    parts = {"batch_of": batch_of, "loss_of": loss_of, "validate": validate}
    fit(model, **parts, **_schedule(cfg, cfg.encoder_steps, cfg.encoder_rate), fingerprint=key, device=device, **run)
    return model.encoder


def _split_photos(identities: Int64[np.ndarray, "photos"]) -> tuple[Int64[np.ndarray, "_"], Int64[np.ndarray, "_"]]:
    """Rows for training, and for validation: the last photograph of every tenth person."""
    people = pd.Series(identities)
    if not people.duplicated(keep=False).all():
        single = people[~people.duplicated(keep=False)].iloc[0]
        raise UserError(f"Person {single} has one photograph: give two or more, as the last one is for validation.")
    held_out = ~people.duplicated(keep="last") & (people % 10 == 9)
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def face_encoder_of(cfg: config.FaceModel, learn: Callable[[], FaceEncoder]) -> AnyFaceEncoder:
    """The encoder that the settings name.

    cfg: its `feature` names the encoder, its `weights` the file of VGG-Face.
    learn: trains the small or large encoder; called for these only.

    UserError if the file of weights is missing or holds something else.
    """
    match cfg.feature:
        case "small" | "large":
            return learn()
        case "vgg_face":
            return load_vgg_face(cfg.weights)
        case "dlib":
            return DlibEncoder()


def face_codes(
    canonical: UInt8[np.ndarray, "people size size 3"], landmarks: Float32[np.ndarray, "people 68 2"]
) -> Float32[np.ndarray, "people codes"]:
    """Canonical faces in a few uncorrelated numbers: principal components of a thumbnail and of the landmarks (px).

    The largest component of each has unit variance. The others keep their share of it in the thumbnail, where skin
    tone is most of what people see, and the square root of it in the landmarks, so that lips count beside size.
    """
    people, size = canonical.shape[:2]
    blocks = canonical.reshape(people, THUMBNAIL, size // THUMBNAIL, THUMBNAIL, size // THUMBNAIL, 3)
    thumbnails, parts = blocks.mean(axis=(2, 4)).reshape(people, -1) / 255, []
    for view, power in ((thumbnails, 1.0), (landmarks.reshape(people, -1), 0.5)):
        components = PCA(min(FACE_CODES, people), svd_solver="full")
        share = components.fit(view).explained_variance_.clip(1e-12)
        share, largest = share / share[0], np.sqrt(share[0])
        parts.append(components.transform(view) / largest * share ** ((power - 1) / 2))
    return np.concatenate(parts, axis=1).astype(np.float32)


def train_face_decoder(
    features: Float32[np.ndarray, "photos feature_dim"],
    speakers: Int64[np.ndarray, "photos"],
    canonical: UInt8[np.ndarray, "speakers size size 3"],
    landmarks: Float32[np.ndarray, "speakers 68 2"],
    encoder: AnyFaceEncoder,
    cfg: config.FaceModel,
    *,
    device: torch.device,
    **run,
) -> FaceDecoder:
    """Learn to draw, from the feature of any photograph of a person, that person's canonical face.

    The terms of the loss are those of Cole et al. (2017): absolute error of the image, squared error of the landmarks,
    cosine between the feature of the drawn face and the feature it was drawn from (this one only where the encoder lets
    a gradient through).

    features, speakers: of each photograph, and the row of its person in `canonical` and `landmarks`.
    canonical, landmarks: each person's frontal, neutral, evenly lit face, and its landmarks, px.
    encoder: the trained encoder that made `features`.
    device, run: where to train, and `checkpoint`, `log` and `live` of `s2f.training.loop.fit`.

    Every tenth person is held out for validation. UserError if there are too few people for that.
    """
    size = canonical.shape[1]
    differentiable = not isinstance(encoder, DlibEncoder)
    encoder = encoder.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    held_out = speakers % 10 == 9
    train, val = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    if len(train) == 0 or len(val) == 0:
        raise UserError(f"{len(canonical)} speakers are too few to keep every tenth for validation: give ten or more.")
    settings = face_decoder.SMALL.model_copy(update={"feature_dim": features.shape[1], "base": size // 16})
    with seeded(cfg.seed, device):
        model = FaceDecoder(settings).to(memory_format=torch.channels_last)
    people = np.unique(speakers[train])
    mean_face = torch.from_numpy(canonical[people].mean(axis=0, dtype=np.float32) / 255).permute(2, 0, 1)
    model.set_mean(torch.from_numpy(landmarks[people].mean(axis=0)), mean_face)

    def examples(rows):
        return tensors(features[rows], canonical[speakers[rows]], landmarks[speakers[rows]])

    def batch_of(step):
        return examples(train[rows_of(step, cfg.decoder_batch, len(train), cfg.seed)])

    def loss_of(model, _step, feature, face, points):
        with low_precision(device, cfg.precision):
            drawn = model(feature)
            again = encoder(drawn.image).float() if differentiable else None
        terms = {
            "image": (drawn.image.float() - as_images(face)).abs().mean(),
            "landmarks": ((drawn.landmarks - points) / size).square().mean(),
        }
        if differentiable:
            terms["feature"] = 1 - F.cosine_similarity(again, feature).mean()
        return {"loss": sum(DECODER_WEIGHTS[name] * term for name, term in terms.items())} | terms

    def validate(model):
        batches = (examples(val[part]) for part in chunks(len(val), cfg.decoder_batch))
        return _means([loss_of(model, 0, *(tensor.to(device) for tensor in batch)) for batch in batches])

    key = _fingerprint(train_face_decoder, cfg, "encoder", device, features, speakers, canonical, landmarks, encoder)
    parts = {"batch_of": batch_of, "loss_of": loss_of, "validate": validate}
    fit(model, **parts, **_schedule(cfg, cfg.decoder_steps, cfg.decoder_rate), fingerprint=key, device=device, **run)
    return model


def _means(rows: list[dict[str, Float[Tensor, ""]]]) -> dict[str, float]:
    """The mean of each term over the batches of a validation."""
    return pd.DataFrame([{name: term.item() for name, term in row.items()} for row in rows]).mean().to_dict()


def _schedule(cfg: config.FaceModel, steps: int, rate: float) -> dict:
    """Arguments of `fit` for both trainings. They are not the paper's experiment: Adam with its default settings."""
    return {
        "steps": steps,
        "learning_rate": cosine(rate, steps),
        "seed": cfg.seed,
        "threads": cfg.threads,
        "validate_every": math.ceil(steps / CURVE_ROWS),
        "minutes": cfg.checkpoint_minutes,
    }


def _fingerprint(training: Callable, cfg: config.FaceModel, other: str, device: torch.device, *inputs) -> str:
    """Of one of the two trainings, which does not depend on the settings whose names begin with `other`."""
    unused = {"checkpoint_minutes", *(f"{other}_{name}" for name in ("steps", "batch", "rate"))}
    return fingerprint(cfg.model_dump_json(exclude=unused), str(device), *inputs, code.digest(training))
