"""The paper's voice encoder trained on a few hundred pairs and nothing else, cross-validated by person."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int16
from torch import Tensor
from torch.nn import functional as F

from s2f.data.batches import chunks, rows_of, tensors
from s2f.heads.ridge import Features, Fold
from s2f.heads.settings import Training
from s2f.models.voice_encoder import VoiceEncoder
from s2f.signal.audio import SAMPLE_RATE
from s2f.study import code
from s2f.study.numbers import finite
from s2f.study.paths import UserError
from s2f.training.loop import cosine, fingerprint, fit, seeded
from s2f.training.voice import SIZES, features_of_waves

Waves = Int16[np.ndarray, "people samples"]


def predict(
    waves: Waves, faces: Features, fold: Fold, cfg: Training, *, checkpoint: Path, logs: Path, device: torch.device
) -> Features:
    """Out-of-fold predictions of face features, by a network for each fold.

    It learns the direction in which a face lies from the mean face (1 - cosine) from random crops of the recordings,
    and predicts from the whole of them.

    Args:
        waves: recordings of one length, 16 kHz.
        faces: features of the true faces.
        fold: the fold of each person, of at least three: the people of the next fold choose the best step.
        cfg: size of the network and schedule.
        checkpoint: folder from which an interrupted run goes on.
        logs: folder for a CSV for each fold.
        device: where to train.

    UserError if a training crop is longer than the recordings.
    """
    if round(cfg.seconds * SAMPLE_RATE) > waves.shape[1]:
        raise UserError(
            f"A training crop of {cfg.seconds:g} s is longer than the recordings of {waves.shape[1] / SAMPLE_RATE:g} s:"
            " set `seconds` to less."
        )
    finite(face_feature=faces)
    predicted = np.empty(faces.shape)
    parts = np.unique(fold)
    for part, following in zip(parts, np.roll(parts, -1), strict=True):
        train, held_out = np.flatnonzero((fold != part) & (fold != following)), fold == following
        mean = faces[train].mean(axis=0)
        target = (faces - mean).astype(np.float32)
        run = {
            "checkpoint": checkpoint,
            "log": logs / f"fold_{part}.csv",
            "fingerprint": fingerprint(
                cfg.model_dump_json(include=set(Training.model_fields) - {"checkpoint_minutes"}),
                *(str(device), int(part), fold, waves, faces),
                code.digest(predict),
            ),
        }
        model = _train(waves, target, train, held_out, cfg, device, **run)
        direction = F.normalize(_embed(model, waves[fold == part], cfg, device), dim=1)
        predicted[fold == part] = mean + direction.cpu().numpy()
    return predicted


def _train(
    waves: Waves,
    target: Float32[np.ndarray, "people dim"],
    train: Int[np.ndarray, "rows"],
    held_out: Bool[np.ndarray, "people"],
    cfg: Training,
    device: torch.device,
    **run: str | Path,
) -> VoiceEncoder:
    """The network of one fold: learned from the rows `train`, at the step that was best for the held-out people."""
    samples = round(cfg.seconds * SAMPLE_RATE)

    def batch_of(step: int) -> tuple[Tensor, ...]:
        rows = train[rows_of(step, cfg.batch, len(train), cfg.seed)]
        draw = np.random.default_rng([cfg.seed, 1, step])
        starts = draw.integers(0, waves.shape[1] - samples, len(rows), endpoint=True)
        return tensors(waves[rows[:, None], starts[:, None] + np.arange(samples)], target[rows])

    def loss_of(model, _step, crops, wanted):
        return {"loss": 1 - F.cosine_similarity(features_of_waves(model, crops, cfg.precision), wanted).mean()}

    def validate(model):
        wanted = torch.from_numpy(target[held_out]).to(device)
        return {"loss": 1 - F.cosine_similarity(_embed(model, waves[held_out], cfg, device), wanted).mean()}

    with seeded(cfg.seed, device):
        sizes = SIZES[cfg.model].model_copy(update={"feature_dim": target.shape[1]})
        model = VoiceEncoder(sizes).to(memory_format=torch.channels_last)
    fit(
        model,
        batch_of=batch_of,
        loss_of=loss_of,
        validate=validate,
        steps=cfg.steps,
        learning_rate=cosine(cfg.rate, cfg.steps),
        seed=cfg.seed,
        device=device,
        threads=cfg.threads,
        validate_every=cfg.validate_every,
        minutes=cfg.checkpoint_minutes,
        **run,
    )
    return model


def _embed(
    model: VoiceEncoder, waves: Int16[np.ndarray, "voices samples"], cfg: Training, device: torch.device
) -> Float[Tensor, "voices dim"]:
    batches = (torch.from_numpy(waves[rows]).to(device) for rows in chunks(len(waves), cfg.batch))
    with torch.inference_mode():
        return torch.cat([features_of_waves(model, batch, cfg.precision) for batch in batches])
