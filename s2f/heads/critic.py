"""A contrastive critic: two small networks whose outputs are alike for a voice and its own face, and for no other.

It scores pairs and draws nothing. Its voices are statistics of a spectrum rather than spectrograms, so it says what can
be had of pairs without a convolutional network.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn
from torch.nn.functional import normalize
from tqdm.auto import trange

from s2f.models.losses import contrastive
from s2f.study.numbers import finite

WIDTH, DROPOUT = 256, 0.3
BATCH = 256
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-3  # of AdamW
VALIDATE_EVERY = 50  # steps


class Critic(nn.Module):
    """Cosine similarity of voices and faces in a small space, times a factor that is learned too.

    Args:
        voices: voices to learn from, whose means and spreads are taken off.
        faces: faces, likewise.
        dims: of the small space.
    """

    def __init__(self, voices: Float32[Tensor, "voices width"], faces: Float32[Tensor, "faces dim"], dims: int) -> None:
        super().__init__()
        for name, values in (("voice", voices), ("face", faces)):
            self.register_buffer(f"{name}_mean", values.mean(dim=0))
            self.register_buffer(f"{name}_spread", values.std(dim=0).clamp(min=1e-6))
        self.voice, self.face = (_layers(values.shape[1], dims) for values in (voices, faces))
        self.log_factor = nn.Parameter(torch.tensor(1.0))

    def forward(
        self, voices: Float32[Tensor, "voices width"], faces: Float32[Tensor, "faces dim"]
    ) -> Float32[Tensor, "voices faces"]:
        ours = normalize(self.voice((voices - self.voice_mean) / self.voice_spread), dim=1)
        theirs = normalize(self.face((faces - self.face_mean) / self.face_spread), dim=1)
        return self.log_factor.exp() * ours @ theirs.T

    def score(
        self, queries: Float[np.ndarray, "queries width"], gallery: Float[np.ndarray, "gallery dim"]
    ) -> Float[np.ndarray, "queries gallery"]:
        """Similarities as arrays; usable as a metric of `s2f.metrics.retrieval`."""
        with torch.inference_mode():
            return self.eval()(_single(queries), _single(gallery)).numpy()


def learn(
    voices: Float[np.ndarray, "clips width"],
    faces: Float[np.ndarray, "people dim"],
    owners: Int[np.ndarray, "clips"],
    val_voices: Float[np.ndarray, "val_clips width"],
    val_faces: Float[np.ndarray, "val_people dim"],
    val_owners: Int[np.ndarray, "val_clips"],
    dims: int,
    steps: int,
    seed: int,
) -> Critic:
    """A critic that learned to tell the own face from those of other people (`losses.contrastive`).

    Args:
        voices: of recordings.
        faces: of their speakers.
        owners: the row in `faces` of each recording.
        val_voices, val_faces, val_owners: the same of other people; the weights that win most 1:2 matches are kept.
        dims: of the small space.
        steps: of training.
        seed: of weights and batches.
    """
    finite(voice=voices, face=faces, validation_voice=val_voices, validation_face=val_faces)
    speech, looks, people = _single(voices), _single(faces), torch.from_numpy(owners)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        critic = Critic(speech, looks, dims)
        adam = torch.optim.AdamW(critic.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        slowing = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        best, most = critic.state_dict(), -1.0
        for step, rows in zip(trange(1, steps + 1, desc="critic"), _batches(len(speech), seed), strict=False):
            loss = contrastive(critic.train()(speech[rows], looks[people[rows]]), people[rows])
            adam.zero_grad()
            loss.backward()
            adam.step()
            slowing.step()
            if step % VALIDATE_EVERY == 0:
                scores = critic.score(val_voices, val_faces)
                wins = (scores < scores[np.arange(len(scores)), val_owners][:, None]).mean()
                if wins > most:
                    best, most = {name: value.clone() for name, value in critic.state_dict().items()}, wins
    critic.load_state_dict(best)
    return critic.eval()


def _batches(clips: int, seed: int) -> Iterator[Int[np.ndarray, "batch"]]:
    rng = np.random.default_rng(seed)
    while True:
        yield rng.choice(clips, min(BATCH, clips), replace=False)


def _layers(inputs: int, outputs: int) -> nn.Sequential:
    hidden = [layer for width in (inputs, WIDTH) for layer in (nn.Linear(width, WIDTH), nn.GELU(), nn.Dropout(DROPOUT))]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, outputs))


def _single(values: Float[np.ndarray, "_ _"]) -> Float32[Tensor, "_ _"]:
    return torch.from_numpy(np.asarray(values, np.float32))
