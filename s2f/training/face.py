"""Training of the face model: the encoder of photographs and the decoder that draws canonical faces.

Each says what a batch is, what its loss is and how it is validated, and hands that to the loop in `s2f.training.loop`.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float32, Int64, UInt8
from sklearn.decomposition import PCA
from torch import nn
from torch.nn import functional as F

from s2f.data.batches import as_images, chunks, rows_of, shifted, tensors
from s2f.models import face_decoder, face_encoder
from s2f.models.face_decoder import FaceDecoder, FaceDecoderConfig
from s2f.models.face_encoder import FaceEncoder, FaceEncoderConfig
from s2f.study import config
from s2f.study.paths import UserError
from s2f.study.precision import low_precision
from s2f.training.loop import code, cosine, fingerprint, fit, seeded

GAIN = 0.1  # share by which a photograph is made brighter or darker at most
# Of the decoder's terms, to bring them to one scale: errors of landmarks are in image sizes.
DECODER_WEIGHTS = {"image": 1.0, "landmarks": 1000.0, "feature": 0.1}
# Of the face encoder: the canonical face weighs more than the identity, which is easy.
FACE_WEIGHT = 64.0
LABEL_SMOOTHING = 0.1
FACE_CODES = 24  # principal components of the landmarks, and of the thumbnail
THUMBNAIL = 16  # px
CURVE_ROWS = 20


class FaceLearner(nn.Module):
    """A face encoder and, for its training only, a linear reading of the canonical face from its feature."""

    def __init__(self, encoder: FaceEncoder, codes: int):
        super().__init__()
        self.encoder = encoder
        self.read_face = nn.Linear(encoder.config.feature_dim, codes)


def train_face_encoder(
    photos: UInt8[np.ndarray, "photos size size 3"],
    identities: Int64[np.ndarray, "photos"],
    canonical: UInt8[np.ndarray, "people size size 3"],
    landmarks: Float32[np.ndarray, "people 68 2"],
    cfg: config.FaceModel,
    *,
    checkpoint: Path,
    log: Path,
    device: torch.device,
    live: bool = False,
) -> FaceEncoder:
    """Learn who is in a photograph, and what their canonical face looks like.

    The identities alone, as VGG-Face had them, are not enough when they are some thousand and not 2.6 million
    photographs: hair and eye colour tell them all apart, and the feature loses the shape of the face. So it must also
    let a linear layer read the canonical face (principal components of landmarks and of a thumbnail).
    `identities`: the row of each photograph's person in `canonical` and `landmarks`; the last photograph of every
    tenth person is kept for validation. UserError if somebody has one photograph only.
    """
    people = pd.Series(identities)
    if not people.duplicated(keep=False).all():
        lonely = people[~people.duplicated(keep=False)].iloc[0]
        raise UserError(f"Person {lonely} has one photograph: give two or more, as the last one is for validation.")
    last = ~people.duplicated(keep="last") & (people % 10 == 9)
    train, val = np.flatnonzero(~last), np.flatnonzero(last)
    settings = face_encoder.small(people.nunique()).model_dump() | {"size": photos.shape[1]}
    codes = face_codes(canonical, landmarks)

    def batch_of(step):
        rows = train[rows_of(step, cfg.encoder_batch, len(train), cfg.seed)]
        draw = np.random.default_rng([cfg.seed, 1, step])
        gain = draw.uniform(1 - GAIN, 1 + GAIN, (len(rows), 1, 1, 1)).astype(np.float32)
        return tensors(shifted(photos, rows, draw), gain, identities[rows], codes[identities[rows]])

    def terms_of(model, images, who, code):
        with low_precision(device, cfg.precision):
            feature = model.encoder(images)
            scores, read = model.encoder.logits(feature).float(), model.read_face(feature).float()
        identity = F.cross_entropy(scores, who, label_smoothing=LABEL_SMOOTHING)
        face = F.mse_loss(read, code)
        return {"loss": identity + FACE_WEIGHT * face, "identity": identity, "face": face}, scores

    def loss_of(model, _step, photos, gain, who, code):
        return terms_of(model, (as_images(photos) * gain).clamp(max=1), who, code)[0]

    def validate(model):
        rows = []
        for part in chunks(len(val), cfg.encoder_batch):
            batch = tensors(photos[val[part]], identities[val[part]], codes[identities[val[part]]])
            images, who, code = (tensor.to(device) for tensor in batch)
            terms, scores = terms_of(model, as_images(images), who, code)
            right = (scores.argmax(dim=1) == who).float().mean()
            rows.append({name: term.item() for name, term in (terms | {"accuracy": right}).items()})
        return pd.DataFrame(rows).mean().to_dict()

    with seeded(cfg.seed, device):
        model = FaceLearner(FaceEncoder(FaceEncoderConfig.model_validate(settings)), codes.shape[1])
    model.to(memory_format=torch.channels_last)
    fit(
        model,
        batch_of=batch_of,
        loss_of=loss_of,
        validate=validate,
        **_schedule(cfg, cfg.encoder_steps, cfg.encoder_rate),
        device=device,
        checkpoint=checkpoint,
        fingerprint=fingerprint(
            cfg.model_dump_json(exclude={"checkpoint_minutes", "decoder_steps", "decoder_batch", "decoder_rate"}),
            *(
                str(device),
                photos,
                identities,
                codes,
                code("training.loop training.face data.batches models.face_encoder"),
            ),
        ),
        log=log,
        live=live,
    )
    return model.encoder


def face_codes(
    canonical: UInt8[np.ndarray, "people size size 3"], landmarks: Float32[np.ndarray, "people 68 2"]
) -> Float32[np.ndarray, "people codes"]:
    """Canonical faces in a few uncorrelated numbers: principal components of a thumbnail and of the landmarks.

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
    encoder: FaceEncoder,
    cfg: config.FaceModel,
    *,
    checkpoint: Path,
    log: Path,
    device: torch.device,
    live: bool = False,
) -> FaceDecoder:
    """Learn to draw, from the feature of any photograph of a person, that person's canonical face.

    `speakers`: the row of each photograph's person in `canonical` and `landmarks` (px); every tenth person is
    kept for validation. The terms are those of Cole et al. (2017): absolute error of the image, squared error
    of the landmarks, cosine between the feature of the drawn face and the feature it was drawn from.
    UserError if there are too few people.
    """
    size = canonical.shape[1]
    encoder = encoder.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    settings = face_decoder.SMALL.model_dump() | {"feature_dim": features.shape[1], "base": size // 16}
    held_out = speakers % 10 == 9
    train, val = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    if len(train) == 0 or len(val) == 0:
        raise UserError(f"{len(canonical)} speakers are too few to keep every tenth for validation: give ten or more.")

    def people(rows):
        return tensors(features[rows], canonical[speakers[rows]], landmarks[speakers[rows]])

    def batch_of(step):
        return people(train[rows_of(step, cfg.decoder_batch, len(train), cfg.seed)])

    def loss_of(model, _step, feature, face, points):
        with low_precision(device, cfg.precision):
            drawn = model(feature)
            again = encoder(drawn.image).float()
        terms = {
            "image": (drawn.image.float() - as_images(face)).abs().mean(),
            "landmarks": ((drawn.landmarks - points) / size).square().mean(),
            "feature": 1 - F.cosine_similarity(again, feature).mean(),
        }
        return {"loss": sum(DECODER_WEIGHTS[name] * term for name, term in terms.items())} | terms

    def validate(model):
        rows = [
            {name: term.item() for name, term in loss_of(model, 0, *(t.to(device) for t in people(val[rows]))).items()}
            for rows in chunks(len(val), cfg.decoder_batch)
        ]
        return pd.DataFrame(rows).mean().to_dict()

    with seeded(cfg.seed, device):
        model = FaceDecoder(FaceDecoderConfig.model_validate(settings)).to(memory_format=torch.channels_last)
    drawn = np.unique(speakers[train])
    mean_face = torch.from_numpy(canonical[drawn].mean(axis=0, dtype=np.float32) / 255).permute(2, 0, 1)
    model.set_mean(torch.from_numpy(landmarks[drawn].mean(axis=0)), mean_face)
    fit(
        model,
        batch_of=batch_of,
        loss_of=loss_of,
        validate=validate,
        **_schedule(cfg, cfg.decoder_steps, cfg.decoder_rate),
        device=device,
        checkpoint=checkpoint,
        fingerprint=fingerprint(
            cfg.model_dump_json(exclude={"checkpoint_minutes", "encoder_steps", "encoder_batch", "encoder_rate"}),
            *(str(device), features, speakers, canonical, landmarks, encoder),
            code("training.loop training.face data.batches models.face_decoder models.face_encoder signal.warping"),
        ),
        log=log,
        live=live,
    )
    return model


def _schedule(cfg: config.FaceModel, steps: int, rate: float) -> dict:
    """What both trainings ask of the loop. They are not the paper's experiment: Adam as it comes."""
    return {
        "steps": steps,
        "learning_rate": cosine(rate, steps),
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "seed": cfg.seed,
        "threads": cfg.threads,
        "validate_every": math.ceil(steps / CURVE_ROWS),
        "minutes": cfg.checkpoint_minutes,
    }
