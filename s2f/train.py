"""The three trainings: the face encoder, the face decoder, and the voice encoder of the paper.

Each says what a batch is, what its loss is and how it is validated, and hands that to the loop in `s2f.loop`.
"""

import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float32, Int16, Int64, UInt8
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from s2f import config, face_decoder, face_encoder, losses, voice_encoder
from s2f.audio import SAMPLE_RATE, spectrogram
from s2f.batches import as_images, chunks, cropped, rows_of, shifted, tensors
from s2f.face_decoder import FaceDecoder, FaceDecoderConfig
from s2f.face_encoder import FaceEncoder, FaceEncoderConfig
from s2f.loop import code, cosine, exponential, fingerprint, fit, seeded
from s2f.paths import UserError
from s2f.shards import Shards
from s2f.voice_encoder import VoiceEncoder

SIZES = {"small": voice_encoder.SMALL, "paper": voice_encoder.PAPER}
GAIN = 0.1  # share by which a photograph is made brighter or darker at most
# Of the decoder's terms, to bring them to one scale: errors of landmarks are in image sizes.
DECODER_WEIGHTS = {"image": 1.0, "landmarks": 1000.0, "feature": 0.1}
# Of the face encoder: the canonical face weighs more than the identity, which is easy.
FACE_WEIGHT = 64.0
LABEL_SMOOTHING = 0.1
FACE_CODES = 24  # principal components of the landmarks, and of the thumbnail
THUMBNAIL = 16  # px
CURVE_ROWS = 20  # of a face model
# The face models are not the paper's experiment: they train with Adam as it comes.
PLAIN_ADAM = {"betas": (0.9, 0.999), "eps": 1e-8}


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
        raise UserError(
            f"Person {lonely} has one photograph: give two or more, as the last one is for validation."
        )
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
        steps=cfg.encoder_steps,
        learning_rate=cosine(cfg.encoder_rate, cfg.encoder_steps),
        **PLAIN_ADAM,
        seed=cfg.seed,
        device=device,
        threads=cfg.threads,
        validate_every=math.ceil(cfg.encoder_steps / CURVE_ROWS),
        checkpoint=checkpoint,
        fingerprint=fingerprint(
            cfg.model_dump_json(
                exclude={"checkpoint_minutes", "decoder_steps", "decoder_batch", "decoder_rate"}
            ),
            *(str(device), photos, identities, codes, code("loop train batches face_encoder")),
        ),
        minutes=cfg.checkpoint_minutes,
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
        raise UserError(
            f"{len(canonical)} speakers are too few to keep every tenth for validation: give ten or more."
        )

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
            {
                name: term.item()
                for name, term in loss_of(model, 0, *(t.to(device) for t in people(val[rows]))).items()
            }
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
        steps=cfg.decoder_steps,
        learning_rate=cosine(cfg.decoder_rate, cfg.decoder_steps),
        **PLAIN_ADAM,
        seed=cfg.seed,
        device=device,
        threads=cfg.threads,
        validate_every=math.ceil(cfg.decoder_steps / CURVE_ROWS),
        checkpoint=checkpoint,
        fingerprint=fingerprint(
            cfg.model_dump_json(
                exclude={"checkpoint_minutes", "encoder_steps", "encoder_batch", "encoder_rate"}
            ),
            *(str(device), features, speakers, canonical, landmarks, encoder),
            code("loop train batches face_decoder face_encoder"),
        ),
        minutes=cfg.checkpoint_minutes,
        log=log,
        live=live,
    )
    return model


def train_voice_encoder(
    clips: pd.DataFrame,
    shards: Shards,
    face_features: Float32[np.ndarray, "photos feature_dim"],
    encoder: FaceEncoder,
    decoder: FaceDecoder,
    cfg: config.Train,
    *,
    checkpoint: Path,
    log: Path,
    device: torch.device,
    live: bool = False,
) -> VoiceEncoder:
    """Learn the feature of the speaker's face from the voice (paper, section 3; schedule of section 4).

    `clips`: rows of the manifest; those with a face in the splits train and val are used. The paper's loss
    starts with the paper's weights; at `rebalance_step` they are set anew by the paper's rule (the curve
    shows them). The best validation is that with the smallest mean angle between predicted and true feature,
    as the loss changes its scale on re-balancing. UserError if a split has no clip.
    """
    clips = clips[clips["face"].notna()]
    train, val = (clips[clips["split"] == split].reset_index(drop=True) for split in ("train", "val"))
    if train.empty or val.empty:
        raise UserError(
            "The manifest needs clips with a face in both splits, train and val: prepare the data again."
        )
    samples = round(cfg.seconds * SAMPLE_RATE)
    faces = {"train": train["face"].to_numpy(np.int64), "val": val["face"].to_numpy(np.int64)}
    frozen = [part.to(device).eval().requires_grad_(False) for part in (decoder, encoder)]
    layers = frozen[0].first, frozen[1].logits
    sizes = SIZES[cfg.model].model_copy(
        update={"batch_norm": cfg.batch_norm, "feature_dim": face_features.shape[1]}
    )
    # Changed in place on re-balancing and kept with the run; on the CPU, where they are read as numbers.
    lambdas = torch.tensor(losses.PAPER_WEIGHTS, dtype=torch.float64)

    def batch_of(step):
        rows = rows_of(step, cfg.batch, len(train), cfg.seed)
        waves = cropped(shards, train.iloc[rows], samples, np.random.default_rng([cfg.seed, 1, step]))
        return tensors(waves, face_features[faces["train"][rows]])

    def terms_of(v_s, v_f):
        if cfg.loss == "l1":
            return {"loss": losses.feature_l1(v_s, v_f)}
        if cfg.loss == "cosine":
            return {"loss": 1 - F.cosine_similarity(v_s, v_f).mean()}
        terms = losses.speech2face_loss(v_s, v_f, *layers, losses.Weights(*lambdas.tolist()))
        named = {"loss": terms.total, "first": terms.first, "cosine": terms.cosine, "distill": terms.distill}
        return named | {"lambda1": lambdas[0], "lambda2": lambdas[1]}

    def loss_of(model, step, waves, v_f):
        v_s = hear(model, waves, cfg.precision)
        if cfg.loss == "paper" and step == cfg.rebalance_step:
            lambdas.copy_(torch.tensor(losses.rebalance(v_s, v_f, *layers), dtype=torch.float64))
        return terms_of(v_s, v_f)

    def validate(model):
        v_s = torch.cat(
            [
                hear(
                    model, torch.from_numpy(shards.gather(val.iloc[rows], samples)).to(device), cfg.precision
                )
                for rows in chunks(len(val), cfg.batch)
            ]
        )
        v_f = torch.from_numpy(face_features[faces["val"]]).to(device)
        angles = F.cosine_similarity(v_s, v_f).clamp(-1, 1).acos().rad2deg()
        return {"loss": terms_of(v_s, v_f)["loss"], "degrees": angles.mean()}

    with seeded(cfg.seed, device):
        model = VoiceEncoder(sizes).to(memory_format=torch.channels_last)
    fit(
        model,
        batch_of=batch_of,
        loss_of=loss_of,
        validate=validate,
        best_by="val_degrees",
        steps=cfg.steps,
        learning_rate=exponential(cfg.rate, cfg.decay, cfg.decay_every),
        betas=(cfg.beta1, 0.999),
        eps=cfg.epsilon,
        seed=cfg.seed,
        device=device,
        threads=cfg.threads,
        validate_every=cfg.validate_every,
        checkpoint=checkpoint,
        fingerprint=fingerprint(
            cfg.model_dump_json(exclude={"checkpoint_minutes"}),
            *(str(device), clips, shards.folder, face_features, *frozen),
            code("loop train batches audio shards losses voice_encoder face_encoder face_decoder"),
        ),
        minutes=cfg.checkpoint_minutes,
        log=log,
        kept={"lambdas": lambdas},
        live=live,
    )
    return model


def throughput(cfg: config.Train, batch: int, steps: int, device: torch.device) -> dict[str, float]:
    """Clips per second and TFLOP per second of training the voice encoder on noise, with L1 as the loss.

    Counts all that a step runs on the device: spectrogram, forward, backward and Adam. FLOPs are those of
    convolutions and matrix products, as torch's FlopCounterMode sees them.
    """
    model = VoiceEncoder(SIZES[cfg.model]).to(device, memory_format=torch.channels_last)
    adam = torch.optim.Adam(model.parameters(), lr=cfg.rate, fused=True)
    waves = torch.randint(
        -3000, 3000, (batch, round(cfg.seconds * SAMPLE_RATE)), dtype=torch.int16, device=device
    )
    v_f = torch.randn(batch, model.config.feature_dim, device=device)

    def train_step() -> Tensor:
        adam.zero_grad()
        loss = losses.feature_l1(hear(model, waves, cfg.precision), v_f)
        loss.backward()
        adam.step()
        return loss

    with FlopCounterMode(display=False) as counter:
        train_step().item()  # also warms up; reading the number waits for the device
    start = time.perf_counter()
    for _ in range(steps):
        loss = train_step()
    loss.item()
    seconds = (time.perf_counter() - start) / steps
    return {
        "clips_per_second": batch / seconds,
        "tflop_per_second": counter.get_total_flops() / seconds / 1e12,
    }


def hear(
    model: VoiceEncoder, waves: Int16[Tensor, "batch samples"], precision: str
) -> Float32[Tensor, "batch feature_dim"]:
    """Features of waves, with the spectrogram made where the model runs and bfloat16 in the network only."""
    planes = spectrogram(waves)
    with low_precision(waves.device, precision):
        return model(planes)


def low_precision(device: torch.device, precision: str) -> torch.autocast:
    """bfloat16 where asked for, or, with `auto`, where the device has it in hardware."""
    in_hardware = voice_encoder.fast_dtype(device) == torch.bfloat16
    wanted = precision == "bfloat16" or (precision == "auto" and in_hardware)
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)
