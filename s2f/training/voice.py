"""Training of the voice encoder (paper, sections 3 and 4), with the losses that it is compared with."""

import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float32, Int16
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from s2f.data.batches import chunks, cropped, rows_of, tensors
from s2f.data.shards import Shards
from s2f.models import losses, voice_encoder
from s2f.models.face_decoder import FaceDecoder
from s2f.models.face_encoder import FaceEncoder
from s2f.models.losses import Matcher
from s2f.models.voice_encoder import VoiceEncoder
from s2f.signal.audio import SAMPLE_RATE, spectrogram
from s2f.study import config
from s2f.study.paths import UserError
from s2f.study.precision import low_precision
from s2f.training.loop import code, exponential, fingerprint, fit, seeded

SIZES = {"small": voice_encoder.SMALL, "paper": voice_encoder.PAPER}


class VoiceLearner(nn.Module):
    """A voice encoder and, where the loss is `contrastive`, the matcher that learns beside it."""

    def __init__(self, encoder: VoiceEncoder, matcher: Matcher | None):
        super().__init__()
        self.encoder, self.matcher = encoder, matcher


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
    start: VoiceEncoder | None = None,
    chances: pd.Series | None = None,
) -> VoiceLearner:
    """Learn the feature of the speaker's face from the voice (paper, section 3; schedule of section 4).

    `clips`: rows of the manifest; those with a face in the splits train and val are used. The paper's loss
    starts with the paper's weights; at `rebalance_step` they are set anew by the paper's rule (the curve
    shows them). The best validation is that with the smallest mean angle between predicted and true feature,
    as the loss changes its scale on re-balancing. The contrastive term joins the paper's loss at the
    re-balancing, with a pull as strong as the first term's. UserError if a split has no clip.

    `start`: the encoder whose weights the training goes on from (default: random ones); UserError if its sizes are not
    those of the settings. `chances`: how often each training clip is drawn, by clip_id, as `batches.balanced` makes
    them (default: all once an epoch); UserError if a clip has none.
    """
    clips = clips[clips["face"].notna()]
    train, val = (clips[clips["split"] == split].reset_index(drop=True) for split in ("train", "val"))
    if train.empty or val.empty:
        raise UserError("The manifest needs clips with a face in both splits, train and val: prepare the data again.")
    samples = round(cfg.seconds * SAMPLE_RATE)
    faces = {"train": train["face"].to_numpy(np.int64), "val": val["face"].to_numpy(np.int64)}
    drawn = None if chances is None else _chances_of(train, chances)
    frozen = [part.to(device).eval().requires_grad_(False) for part in (decoder, encoder)]
    layers = frozen[0].first, frozen[1].logits
    sizes = SIZES[cfg.model].model_copy(update={"batch_norm": cfg.batch_norm, "feature_dim": face_features.shape[1]})
    if start is not None and start.config != sizes:
        raise UserError("The encoder to start from has other sizes than the settings: take those it was trained with.")
    # Changed in place on re-balancing and kept with the run; on the CPU, where they are read as numbers.
    lambdas = torch.tensor([*losses.PAPER_WEIGHTS, 0.0], dtype=torch.float64)
    speakers = torch.from_numpy(pd.factorize(train["speaker_id"])[0])

    def batch_of(step):
        rows = rows_of(step, cfg.batch, len(train), cfg.seed, drawn)
        waves = cropped(shards, train.iloc[rows], samples, np.random.default_rng([cfg.seed, 1, step]))
        return (*tensors(waves, face_features[faces["train"][rows]]), speakers[rows])

    def terms_of(v_s, v_f):
        if cfg.loss == "feature_l1":
            return {"loss": losses.feature_l1(v_s, v_f)}
        if cfg.loss == "pixel_l1":
            with low_precision(device, cfg.precision):
                drawn_s, drawn_f = (frozen[0](v).image.float() for v in (v_s, v_f))
            return {"loss": losses.pixel_l1(drawn_s, drawn_f)}
        kept = losses.KEPT["paper" if cfg.loss == "contrastive" else cfg.loss]
        terms = losses.speech2face_loss(v_s, v_f, *layers, losses.Weights(*lambdas[:2].tolist()), kept)
        named = {"loss": terms.total, "first": terms.first, "cosine": terms.cosine, "distill": terms.distill}
        return named | {"lambda1": lambdas[0], "lambda2": lambdas[1]}

    def loss_of(model, step, waves, v_f, who):
        v_s = hear(model.encoder, waves, cfg.precision)
        if step == cfg.rebalance_step and cfg.loss not in ("feature_l1", "pixel_l1"):
            lambdas[:2] = torch.tensor(losses.rebalance(v_s, v_f, *layers))
        terms = terms_of(v_s, v_f)
        if model.matcher is not None:
            match = losses.contrastive(model.matcher(v_s, v_f), who)
            if step == cfg.rebalance_step:
                lambdas[2] = losses.pull(terms["first"], v_s, "first") / losses.pull(match, v_s, "contrastive")
            terms |= {"loss": terms["loss"] + lambdas[2].item() * match, "match": match, "lambda3": lambdas[2]}
        return terms

    def validate(model):
        rows = chunks(len(val), cfg.batch)
        waves = (torch.from_numpy(shards.gather(val.iloc[part], samples)).to(device) for part in rows)
        v_s = torch.cat([hear(model.encoder, part, cfg.precision) for part in waves])
        v_f = torch.from_numpy(face_features[faces["val"]]).to(device)
        angles = F.cosine_similarity(v_s, v_f).clamp(-1, 1).acos().rad2deg()
        return {"loss": terms_of(v_s, v_f)["loss"], "degrees": angles.mean()}

    with seeded(cfg.seed, device):
        voice = VoiceEncoder(sizes).to(memory_format=torch.channels_last)
    if start is not None:
        voice.load_state_dict(start.state_dict())
    seen = torch.from_numpy(face_features[faces["train"]])
    model = VoiceLearner(voice, Matcher(seen) if cfg.loss == "contrastive" else None)
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
            *(str(device), clips, _sound(shards.folder), face_features, *frozen, start, drawn),
            code(
                "training.loop training.voice data.batches signal.audio signal.warping data.shards models.losses "
                "models.voice_encoder models.face_encoder models.face_decoder"
            ),
        ),
        minutes=cfg.checkpoint_minutes,
        log=log,
        kept={"lambdas": lambdas},
        live=live,
    )
    return model


def _sound(folder: Path) -> str:
    """Digest of the recordings, made once for each state of their files: to read them all takes seconds."""
    files = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(folder.iterdir())]
    return _digest(folder, tuple(files))


@lru_cache(maxsize=1)
def _digest(folder: Path, files: tuple[tuple[str, int, int], ...]) -> str:
    return fingerprint(folder)


def _chances_of(train: pd.DataFrame, chances: pd.Series) -> Float[np.ndarray, "clips"]:
    found = chances.reindex(train["clip_id"])
    if found.isna().any():
        raise UserError(f"Clip {found.index[found.isna()][0]} has no chance to be drawn: give it one or drop it.")
    return found.to_numpy(float)


def throughput(cfg: config.Train, batch: int, steps: int, device: torch.device) -> dict[str, float]:
    """Clips per second and TFLOP per second of training the voice encoder on noise, with L1 as the loss.

    Counts all that a step runs on the device: spectrogram, forward, backward and Adam. FLOPs are those of
    convolutions and matrix products, as torch's FlopCounterMode sees them.
    """
    model = VoiceEncoder(SIZES[cfg.model]).to(device, memory_format=torch.channels_last)
    adam = torch.optim.Adam(model.parameters(), lr=cfg.rate, fused=True)
    waves = torch.randint(-3000, 3000, (batch, round(cfg.seconds * SAMPLE_RATE)), dtype=torch.int16, device=device)
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
