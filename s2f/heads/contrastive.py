"""What else can learn from a few hundred pairs: contrastive maps, the paper's network from scratch, drawn faces.

All of it is cross-validated by person, as the heads of `s2f.heads.ridge` are, whose predictions the first and the last
start from.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int16
from threadpoolctl import threadpool_limits
from torch.nn import functional as F

from s2f.data.batches import chunks, rows_of, tensors
from s2f.data.sources.published import Scratch
from s2f.heads import ridge
from s2f.heads.ridge import Blocks, Features, Fold
from s2f.models.linear_decoder import Images, LinearDecoder, Points
from s2f.models.losses import Matcher, contrastive
from s2f.models.voice_encoder import VoiceEncoder
from s2f.signal.audio import SAMPLE_RATE
from s2f.study import code
from s2f.training.loop import cosine, fingerprint, fit, seeded
from s2f.training.voice import SIZES, features_of_waves

MATCH_RATE = 0.01  # of Adam, all pairs at once


def contrastive_scores(
    voice: Blocks, faces: Features, fold: Fold, dims: int, steps: Sequence[int]
) -> Float[np.ndarray, "people people"]:
    """Scores in a small space, in which two linear maps (`losses.Matcher`) learned to pick the own face of each voice.

    The maps take what a ridge regression says of a voice; taking the voice itself they would have more numbers to
    learn than there are pairs. How long they learn, one of `steps`, is chosen among their own training people, and what
    they learn from is cross-validated within these.
    """
    said = ridge.predict(voice, faces, fold)
    table = np.empty((len(said), len(faces)))
    for part in np.unique(fold):
        inside = fold == part
        learned = _learned([block[~inside] for block in voice], faces[~inside], fold[~inside], dims, steps)
        table[inside] = learned.score(*_single(said[inside], faces))
    return table


def contrastive_elsewhere(
    voice: Blocks,
    faces: Features,
    fold: Fold,
    other_voice: Sequence[Float[np.ndarray, "others _"]],
    other_faces: Float[np.ndarray, "others dim"],
    dims: int,
    steps: Sequence[int],
) -> Float[np.ndarray, "others others"]:
    """The same in another set of people, by maps and a head that learned from everybody in this one."""
    head = ridge.head([block.shape[1] for block in voice]).fit(np.hstack(voice), faces)
    said = head.predict(np.hstack(other_voice))
    return _learned(voice, faces, fold, dims, steps).score(*_single(said, other_faces))


def _learned(voice: Blocks, faces: Features, fold: Fold, dims: int, steps: Sequence[int]) -> Matcher:
    """Maps that learned from all these people, as long as was best for those of them that were left out in turn."""
    heard = ridge.predict(voice, faces, fold)
    wins = np.zeros(len(steps))
    # One thread: sums of so few numbers gain nothing by more, and their order stays the same everywhere.
    with threadpool_limits(1):
        for third in range(3):
            left = fold % 3 == third
            for place, matcher in enumerate(_matchers(heard[~left], faces[~left], dims, steps)):
                scores = matcher.score(*_single(heard[left], faces))
                own = scores[np.arange(left.sum()), np.flatnonzero(left)]
                wins[place] += (scores < own[:, None]).sum()
        *_, matcher = _matchers(heard, faces, dims, [steps[wins.argmax()]])
    return matcher


def _matchers(heard: Features, faces: Features, dims: int, steps: Sequence[int]) -> Iterator[Matcher]:
    """The maps after each of `steps` (rising) of training on all pairs at once."""
    voices, seen = map(torch.from_numpy, _single(heard, faces))
    matcher, everybody = Matcher(seen, dims), torch.arange(len(seen))
    adam = torch.optim.Adam(matcher.parameters(), lr=MATCH_RATE)
    for step in range(max(steps) + 1):
        if step > 0:
            adam.zero_grad()
            contrastive(matcher(voices, seen), everybody).backward()
            adam.step()
        if step in steps:
            yield matcher


def _single(*arrays: Float[np.ndarray, "_ _"]) -> tuple[Float32[np.ndarray, "_ _"], ...]:
    return tuple(array.astype(np.float32) for array in arrays)


def from_scratch(
    waves: Int16[np.ndarray, "people samples"],
    faces: Features,
    fold: Fold,
    cfg: Scratch,
    *,
    checkpoint: Path,
    logs: Path,
    device: torch.device,
) -> Float[np.ndarray, "people dim"]:
    """What the paper's voice encoder says of each voice, of the size `cfg.model`, having heard nothing but these pairs.

    There is a network a fold; the people of the next fold are left out of its training too and say which step was best.
    It learns the direction in which a face lies from the mean face (1 - cosine) from random parts of the recordings,
    and is asked with the whole. Its log in `logs` is a CSV a fold; an interrupted run goes on from `checkpoint`.
    """
    said = np.empty(faces.shape)
    parts = np.unique(fold)
    samples = round(cfg.seconds * SAMPLE_RATE)
    for part, following in zip(parts, np.roll(parts, -1), strict=True):
        train, watched = np.flatnonzero((fold != part) & (fold != following)), fold == following
        mean = faces[train].mean(axis=0)
        target = (faces - mean).astype(np.float32)

        def batch_of(step, train=train, target=target):
            rows = train[rows_of(step, cfg.batch, len(train), cfg.seed)]
            draw = np.random.default_rng([cfg.seed, 1, step])
            starts = draw.integers(0, waves.shape[1] - samples, len(rows), endpoint=True)
            return tensors(waves[rows[:, None], starts[:, None] + np.arange(samples)], target[rows])

        def loss_of(model, _step, heard, wanted):
            return {"loss": 1 - F.cosine_similarity(features_of_waves(model, heard, cfg.precision), wanted).mean()}

        def ask(model, asked):
            batches = (torch.from_numpy(asked[rows]).to(device) for rows in chunks(len(asked), cfg.batch))
            with torch.inference_mode():
                return torch.cat([features_of_waves(model, heard, cfg.precision) for heard in batches])

        def validate(model, watched=watched, target=target):
            wanted = torch.from_numpy(target[watched]).to(device)
            return {"loss": 1 - F.cosine_similarity(ask(model, waves[watched]), wanted).mean()}

        with seeded(cfg.seed, device):
            sizes = SIZES[cfg.model].model_copy(update={"feature_dim": faces.shape[1]})
            model = VoiceEncoder(sizes).to(memory_format=torch.channels_last)
        fit(
            model,
            batch_of=batch_of,
            loss_of=loss_of,
            validate=validate,
            steps=cfg.steps,
            learning_rate=cosine(cfg.rate, cfg.steps),
            betas=(0.9, 0.999),
            eps=1e-8,
            seed=cfg.seed,
            device=device,
            threads=cfg.threads,
            validate_every=cfg.validate_every,
            checkpoint=checkpoint,
            fingerprint=fingerprint(
                cfg.model_dump_json(exclude={"folder", "replicates", "checkpoint_minutes"}),
                *(str(device), int(part), fold, waves, faces),
                code.digest(from_scratch),
            ),
            minutes=cfg.checkpoint_minutes,
            log=logs / f"fold_{part}.csv",
        )
        direction = F.normalize(ask(model, waves[fold == part]), dim=1).cpu().numpy()
        said[fold == part] = mean + direction
    return said


def drawn(
    said: Mapping[str, Features], faces: Features, pictures: Images, landmarks: Points, fold: Fold, components: int
) -> dict[str, Images]:
    """The faces that go with each kind of features, by decoders that learned on the other folds' people.

    They learned to draw the canonical `pictures`, with their `landmarks`, from the features of the true `faces`.
    """
    images = {kind: np.empty_like(pictures) for kind in said}
    for part in np.unique(fold):
        inside = fold == part
        decoder = LinearDecoder.fit(faces[~inside], pictures[~inside], landmarks[~inside], components)
        for kind, features in said.items():
            images[kind][inside] = decoder.draw(features[inside])
    return images
