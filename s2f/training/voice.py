"""Training of the voice encoder (paper, sections 3 and 4), with the losses that it is compared with."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float32, Int16
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from s2f.data.batches import chunks, cropped, rows_of, tensors
from s2f.data.shards import Shards
from s2f.models import fused, losses, voice_encoder
from s2f.models.face_decoder import FaceDecoder
from s2f.models.face_encoder import AnyFaceEncoder
from s2f.models.losses import Matcher
from s2f.models.voice_encoder import VoiceEncoder
from s2f.signal import degradation
from s2f.signal.audio import SAMPLE_RATE
from s2f.signal.spectrograms import spectrograms
from s2f.study import code, config
from s2f.study.paths import UserError
from s2f.study.precision import low_precision, wanted_dtype
from s2f.training import processes
from s2f.training.loop import cosine, exponential, fingerprint, fit, read_ahead, seeded

SIZES = {"small": voice_encoder.SMALL, "paper": voice_encoder.PAPER}


class VoiceLearner(nn.Module):
    """A voice encoder and, where the loss is `contrastive`, the matcher that learns beside it."""

    def __init__(self, encoder: VoiceEncoder, matcher: Matcher | None):
        super().__init__()
        self.encoder, self.matcher = encoder, matcher


class VoiceLoss:
    """The loss that the settings name, of features predicted from speech (v_s) against those of the true faces (v_f).

    The paper's terms start with the paper's weights, which `rebalance` sets anew by the paper's rule. `lambdas` holds
    them and the weight of the contrastive term, which is 0 until then; on the CPU, where they are read as numbers.
    """

    def __init__(self, name: config.Loss, encoder: AnyFaceEncoder, decoder: FaceDecoder, precision: str):
        if encoder.logits is None and "distill" in losses.KEPT.get("paper" if name == "contrastive" else name, ()):
            raise UserError(
                f"train.loss is {name}, but this face feature has no identity scores to distil: take without_distill, "
                "or the feature small or vgg_face in face_model."
            )
        self.name, self.decoder, self.precision = name, decoder, precision
        self.layers = decoder.first, encoder.logits
        self.lambdas = torch.tensor([*losses.PAPER_WEIGHTS, 0.0], dtype=torch.float64)

    def rebalance(self, v_s: Float[Tensor, "batch feature_dim"], v_f: Float[Tensor, "batch feature_dim"]) -> None:
        """Set the weights of the paper's terms by the paper's rule (`losses.rebalance`)."""
        if self.name not in ("feature_l1", "pixel_l1"):
            self.lambdas[:2] = torch.tensor(losses.rebalance(v_s, v_f, *self.layers))

    def terms(
        self, v_s: Float[Tensor, "batch feature_dim"], v_f: Float[Tensor, "batch feature_dim"]
    ) -> dict[str, Tensor]:
        """`loss` and, of the paper's loss, its terms and their weights."""
        if self.name == "feature_l1":
            return {"loss": losses.feature_l1(v_s, v_f)}
        if self.name == "pixel_l1":
            with low_precision(v_s.device, self.precision):
                drawn_s, drawn_f = (self.decoder(v).image.float() for v in (v_s, v_f))
            return {"loss": losses.pixel_l1(drawn_s, drawn_f)}
        kept = losses.KEPT["paper" if self.name == "contrastive" else self.name]
        weights = losses.Weights(*self.lambdas[:2].tolist())
        terms = losses.speech2face_loss(v_s, v_f, *self.layers, weights, kept)
        named = {"loss": terms.total, "first": terms.first, "cosine": terms.cosine, "distill": terms.distill}
        return named | {"lambda1": self.lambdas[0], "lambda2": self.lambdas[1]}


def train_voice_encoder(
    clips: pd.DataFrame,
    shards: Shards,
    face_features: Float32[np.ndarray, "photos feature_dim"],
    encoder: AnyFaceEncoder,
    decoder: FaceDecoder,
    cfg: config.Train,
    *,
    device: torch.device,
    start: VoiceEncoder | None = None,
    chances: pd.Series | None = None,
    scale: config.Scale | None = None,
    **run,
) -> VoiceLearner:
    """Learn the feature of the speaker's face from the voice (paper, section 3; schedule of section 4).

    clips, shards: the manifest and its recordings; clips with a face in the splits train and val are used.
    face_features: of each photograph, to which the column `face` of the clips points.
    encoder, decoder: the trained face model; both are frozen.
    cfg: among others the loss; its weights are set anew at `rebalance_step` (see `VoiceLoss`; the curve shows them).
    start: the encoder whose weights the training goes on from; by default they are random.
    chances: how often each training clip is drawn, by clip_id (`batches.balanced`); by default once per epoch.
    scale: over how many GPUs, in how many parts; by default each batch at once, by this process.
    device, run: where to train, and `checkpoint`, `log` and `live` of `s2f.training.loop.fit`.

    The best validation is that with the smallest mean angle between predicted and true feature, as the loss changes its
    scale on re-balancing. UserError if a split has no clip, if `start` has other sizes than the settings, if a training
    clip has no chance, or if the loss distils identity scores that the face feature does not have.
    """
    if scale is not None and scale.processes > 1 and not processes.joined():
        given = {"start": start, "chances": chances, "scale": scale} | run | {"live": False}
        args = (clips, shards, np.asarray(face_features), encoder.cpu(), decoder.cpu(), cfg)
        processes.launch(scale.processes, train_voice_encoder, *args, **given)
        # From here on this process finds a finished run, and reads it.
    parts, readers, fast = (scale.parts, scale.readers, scale.fused) if scale else (1, 1, False)
    train, val = _clips_with_faces(clips)
    chances = None if chances is None else _aligned_chances(train, chances)
    true = {"train": face_features[train["face"].astype(int)], "val": face_features[val["face"].astype(int)]}
    speakers = torch.from_numpy(pd.factorize(train["speaker_id"])[0])
    samples = round(cfg.seconds * SAMPLE_RATE)
    encoder, decoder = (part.to(device).eval().requires_grad_(False) for part in (encoder, decoder))
    loss = VoiceLoss(cfg.loss, encoder, decoder, cfg.precision)
    model = _initial_model(cfg, torch.from_numpy(true["train"]), start, device)
    predict = features_of_waves
    if fast:
        predict = fused.Trainer(wanted_dtype(device, cfg.precision))
        if parts == processes.count() == 1:
            example = torch.zeros(cfg.batch, samples, dtype=torch.int16, device=device)
            predict.capture(model.encoder.to(device), example)

    def batch_of(number):
        rows = rows_of(number, cfg.batch // parts, len(train), cfg.seed, chances)
        waves = cropped(shards, train.iloc[rows], samples, np.random.default_rng([cfg.seed, 1, number]))
        waves = degradation.vary(waves, cfg.degraded, np.random.default_rng([cfg.seed, 3, number]))
        return (*tensors(waves, true["train"][rows]), speakers[rows])

    def loss_of(model, step, waves, v_f, speakers):
        v_s = predict(model.encoder, waves, cfg.precision)
        if step == cfg.rebalance_step:
            loss.rebalance(v_s, v_f)
        terms = loss.terms(v_s, v_f)
        if model.matcher is not None:
            match = losses.contrastive(model.matcher(v_s, v_f), speakers)
            if step == cfg.rebalance_step:  # from then on it pulls as strongly as the first term
                norms = losses.gradient_norm(terms["first"], v_s, "first"), losses.gradient_norm(match, v_s, "match")
                loss.lambdas[2] = norms[0] / norms[1]
            terms["loss"] = terms["loss"] + loss.lambdas[2].item() * match
            terms |= {"match": match, "lambda3": loss.lambdas[2]}
        return terms

    def validate(model):
        rows = chunks(len(val), cfg.batch)
        own = range(processes.rank(), len(rows), processes.count())
        waves = read_ahead(lambda part: tensors(shards.gather(val.iloc[rows[part]], samples)), own, readers, device)
        predicted = [features_of_waves(model.encoder, part, cfg.precision) for (part,) in waves]
        v_s = processes.in_order(predicted, len(rows)).to(device)
        v_f = torch.from_numpy(true["val"]).to(device)
        angles = cosine_similarity(v_s, v_f).clamp(-1, 1).acos().rad2deg()
        return {"loss": loss.terms(v_s, v_f)["loss"], "degrees": angles.mean()}

    fit(
        model,
        batch_of=batch_of,
        loss_of=loss_of,
        validate=validate,
        best_by="val_degrees",
        steps=cfg.steps,
        learning_rate=_learning_rate(cfg),
        betas=(cfg.beta1, 0.999),
        eps=cfg.epsilon,
        seed=cfg.seed,
        device=device,
        threads=cfg.threads,
        validate_every=cfg.validate_every,
        minutes=cfg.checkpoint_minutes,
        kept={"lambdas": loss.lambdas},
        parts=parts,
        readers=readers,
        repeatable=not fast,
        fingerprint=fingerprint(
            cfg.model_dump_json(exclude={"checkpoint_minutes"}),
            *(device.type, train, val, _sound(shards.folder), face_features, encoder, decoder, start, chances),
            *(parts, fast),
            code.digest(train_voice_encoder),
        ),
        **run,
    )
    return model


def _learning_rate(cfg: config.Train) -> Callable[[int], float]:
    if cfg.schedule == "cosine":
        return cosine(cfg.rate, cfg.steps)
    return exponential(cfg.rate, cfg.decay, cfg.decay_every)


def _clips_with_faces(clips: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The clips of the splits train and val that come with a face."""
    clips = clips[clips["face"].notna()]
    train, val = (clips[clips["split"] == split].reset_index(drop=True) for split in ("train", "val"))
    if train.empty or val.empty:
        raise UserError("The manifest needs clips with a face in both splits, train and val: prepare the data again.")
    return train, val


def _aligned_chances(train: pd.DataFrame, chances: pd.Series) -> Float[np.ndarray, "clips"]:
    found = chances.reindex(train["clip_id"])
    if found.isna().any():
        raise UserError(f"Clip {found.index[found.isna()][0]} has no chance to be drawn: give it one or drop it.")
    return found.to_numpy(float)


def _initial_model(
    cfg: config.Train, faces: Float32[Tensor, "clips feature_dim"], start: VoiceEncoder | None, device: torch.device
) -> VoiceLearner:
    """The model before its first step; `faces` are the true features of the training clips."""
    sizes = SIZES[cfg.model].model_copy(update={"batch_norm": cfg.batch_norm, "feature_dim": faces.shape[1]})
    with seeded(cfg.seed, device):
        encoder = VoiceEncoder(sizes).to(memory_format=torch.channels_last)
    if start is not None:
        if start.config != sizes:
            raise UserError("The encoder to start from has other sizes than the settings: take those of its training.")
        encoder.load_state_dict(start.state_dict())
    return VoiceLearner(encoder, Matcher(faces) if cfg.loss == "contrastive" else None)


def _sound(folder: Path) -> str:
    """Digest of the recordings, made once for each state of their files: to read them all takes seconds."""
    files = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(folder.iterdir())]
    return _digest(folder, tuple(files))


@lru_cache(maxsize=1)
def _digest(folder: Path, files: tuple[tuple[str, int, int], ...]) -> str:
    return fingerprint(folder)


def features_of_waves(
    model: VoiceEncoder, waves: Int16[Tensor, "batch samples"], precision: str
) -> Float32[Tensor, "batch feature_dim"]:
    """Predicted face features of recordings (16 kHz); the spectrogram is made on the device of `waves`.

    precision: of the network only, see `precision.low_precision`; the spectrogram is float32.
    """
    planes = spectrograms(waves)
    with low_precision(waves.device, precision):
        return model(planes)
