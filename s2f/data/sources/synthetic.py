"""The synthetic corpus on disk: recordings, photographs and canonical faces of a table of people.

The work is cut into blocks of a few speakers that a pool of processes makes in any order. A block is a file
in `scratch` named by a digest of all that it depends on, so an interrupted build goes on where it stopped.
Every random number of a speaker hangs on (seed, speaker_id) only: what becomes of a speaker does not depend
on the workers, on the order of the table or on who else is in it.
"""

import hashlib
import zlib
from collections.abc import Callable
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.lib.format import open_memmap

from s2f.data import tables
from s2f.data.corpus import Corpus
from s2f.data.shards import ShardWriter
from s2f.signal.audio import SAMPLE_RATE
from s2f.study import blocks, code
from s2f.study.config import World
from s2f.study.paths import UserError, replacing
from s2f.synthetic import head, render, speech
from s2f.synthetic.people import everybody
from s2f.synthetic.people import identity as identity_of
from s2f.synthetic.truth import Truth

BLOCK = 16  # speakers; about a second of work, so little is lost by an interruption
PIXELS = 48 * 64**2  # that are drawn at a time
SHARD_SAMPLES = 2**26  # 128 MiB a file
SPEAKER = ("sex", "age", "group", "language")  # what the manifest says about the speaker of a clip
VOICE = ("language", "f0_hz", "vtl_cm", "wpm", "breath", "flutter", "roughness")
CLIP_TRUTH = ("f0_hz", "vtl_cm", "wpm", "breath", "snr_db")  # what a session changes in a voice


def build(world: World, folder: Path, scratch: Path, people: pd.DataFrame | None = None) -> Corpus:
    """Draw the people of a world and make the corpus of their recordings and photographs (`s2f.data.corpus`).

    Clip i of a speaker comes with photograph i (cyclically). Finished blocks stay in `scratch` until all is in place. A
    script that calls this needs the guard `if __name__ == "__main__"` (`multiprocessing` starts fresh interpreters).

    Args:
        world: how many people, clips and photographs, and how voices and faces are linked.
        folder: where the corpus goes.
        scratch: where finished blocks wait for the rest.
        people: the people, rows as `people.sample` makes them (default: drawn as `world` says).

    Raises:
        UserError: for a table of people that lacks a column or repeats a speaker.
    """
    folder, scratch = Path(folder), Path(scratch)
    everyone = everybody(world) if people is None else people.reset_index(drop=True)
    _check(everyone)
    counts = {"train": world.train_clips, "val": world.test_clips, "test": world.test_clips, "face": 0}
    recordings = []
    for split, members in everyone.groupby("split", sort=False):
        if counts[split] == 0:
            continue
        seconds = world.train_seconds if split == "train" else world.test_seconds
        arguments = {"clips": counts[split], "seconds": seconds, "spread": world.session_spread, "seed": world.seed}
        recordings += _blocks(speech_block, members, arguments, scratch)
    arguments = {"photos": world.photos, "size": world.size, "spread": world.photo_spread, "seed": world.seed}
    faces = _blocks(face_block, everyone, arguments, scratch)
    made = [*recordings, *faces]
    blocks.keep({block.path: partial(block.make, block.rows, **block.arguments) for block in made}, world.workers)

    # The table of clips vouches for all other files: it goes first and comes back last.
    (folder / "manifest.parquet").unlink(missing_ok=True)
    photographs = _join_faces(faces, folder / "faces")
    clips = _join_recordings(recordings, world.photos, folder / "audio")
    known = [name for name in tables.SCHEMAS["people"].columns if name in everyone]
    tables.write(everyone[known], "people", folder / "people.parquet")
    Truth(world, everyone.set_index("speaker_id"), photographs).write(folder / "truth")
    tables.write(clips, "clips", folder / "manifest.parquet")
    for block in made:
        block.path.unlink()
    return Corpus.open(folder)


def speech_block(rows: pd.DataFrame, *, clips: int, seconds: float, spread: float, seed: int) -> blocks.Arrays:
    """`audio` int16 (speakers x clips, samples) and `truth` float64 (speakers x clips, CLIP_TRUTH)."""
    audio, truth = [], []
    with speech.Espeak() as espeak:
        for _, speaker in rows.iterrows():
            voice = speech.voice_of(speaker)
            rng = np.random.default_rng(_entropy(seed, speaker["speaker_id"], "speech"))
            for _ in range(clips):
                today = speech.session(voice, rng, spread)
                audio.append(speech.recording(espeak, today, seconds, int(rng.integers(2**31))))
                truth.append([getattr(today, name) for name in CLIP_TRUTH])
    return {"audio": np.stack(audio), "truth": np.array(truth)}


def face_block(rows: pd.DataFrame, *, photos: int, size: int, spread: float, seed: int) -> blocks.Arrays:
    """Images `wild` and `canonical`, uint8; `landmarks` float32 (n, 68, 2); the `nuisance` of `wild`."""
    identity = identity_of(rows)
    canonical, landmarks = _rendered(identity, None, size)
    drawn = [_nuisance(speaker, photos, spread, seed) for _, speaker in rows.iterrows()]
    nuisance = {name: torch.cat([each[name] for each in drawn]) for name in render.NUISANCE}
    repeated = {name: values.repeat_interleave(photos) for name, values in identity.items()}
    wild, _ = _rendered(repeated, nuisance, size)
    return {
        "wild": wild,
        "canonical": canonical,
        "landmarks": landmarks,
        "nuisance": torch.stack(list(nuisance.values()), 1).numpy(),
    }


def _nuisance(speaker: pd.Series, photos: int, spread: float, seed: int) -> dict[str, torch.Tensor]:
    """How each photograph of a speaker was taken; whoever wears glasses wears them in all."""
    (state,) = _entropy(seed, speaker["speaker_id"], "photographs").generate_state(1)
    nuisance = render.sample_nuisance(photos, torch.Generator().manual_seed(int(state)), spread)
    return {**nuisance, "glasses": torch.full((photos,), float(speaker["glasses"]))}


def _rendered(identity: dict, nuisance: dict | None, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, size, size, 3) and landmarks float32 (n, 68, 2)."""
    drawn = render.render(identity, nuisance, size=size, chunk=max(1, PIXELS // size**2))
    images = (drawn.image * 255).round().byte().permute(0, 2, 3, 1).contiguous()
    return images.numpy(), drawn.landmarks.numpy()


class Block(NamedTuple):
    """Some rows of the table of people, and the file of what is made of them."""

    path: Path
    make: Callable[..., blocks.Arrays]
    rows: pd.DataFrame
    arguments: dict


def _blocks(make: Callable[..., blocks.Arrays], people: pd.DataFrame, arguments: dict, scratch: Path) -> list[Block]:
    """The work on a table in blocks, each named by its rows, its arguments and the code that makes it."""
    common = repr((list(people.columns), arguments, code.digest(make))).encode()
    found = []
    for start in range(0, len(people), BLOCK):
        rows = people.iloc[start : start + BLOCK]
        values = pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes()
        name = f"{make.__name__}-{hashlib.sha256(values + common).hexdigest()[:24]}.npz"
        found.append(Block(scratch / name, make, rows, arguments))
    return found


def _join_recordings(recordings: list[Block], photos: int, folder: Path) -> pd.DataFrame:
    """Pack the recordings of all blocks, a stem a split; the manifest of the clips."""
    parts = []
    for split, members in groupby(recordings, key=lambda block: block.rows["split"].iloc[0]):
        with ShardWriter(folder, split, SHARD_SAMPLES) as writer:
            for block in members:
                parts.append(_packed(block, photos, writer))
    clips = pd.concat(parts, ignore_index=True)
    for stale in {path.name for path in folder.glob("*.i16")} - set(clips["audio_shard"]):
        (folder / stale).unlink()  # of a larger corpus that was here before
    return clips


def _packed(block: Block, photos: int, writer: ShardWriter) -> pd.DataFrame:
    """Append the recordings of a block; their rows of the manifest."""
    count = block.arguments["clips"]
    made = blocks.load(block.path)
    audio, truth = made["audio"], made["truth"]
    places = [writer.append(clip) for clip in audio]
    clip = np.tile(np.arange(count), len(block.rows))
    speakers = block.rows.loc[block.rows.index.repeat(count)]
    table = pd.DataFrame(
        {
            "clip_id": [f"{name}-{i:02d}" for name, i in zip(speakers["speaker_id"], clip, strict=True)],
            "speaker_id": speakers["speaker_id"].to_numpy(),
            "split": speakers["split"].to_numpy(),
            "source": "synthetic",
            "seconds": audio.shape[1] / SAMPLE_RATE,
            "audio_shard": [shard for shard, _ in places],
            "audio_offset": [offset for _, offset in places],
            "audio_samples": audio.shape[1],
            "face": speakers.index.to_numpy() * photos + clip % photos,  # the index: row of people.parquet
            **{name: speakers[name].to_numpy() for name in SPEAKER},
            **{f"true_{name}": values for name, values in zip(CLIP_TRUTH, truth.T, strict=True)},
        }
    )
    return table.astype({"face": "Int64"})


def _join_faces(faces: list[Block], folder: Path) -> pd.DataFrame:
    """Join the images of all blocks, one block in memory at a time; how each photograph was taken."""
    speakers = pd.concat([block.rows[["speaker_id", "split"]] for block in faces])
    photographs = speakers.loc[speakers.index.repeat(faces[0].arguments["photos"])].reset_index(drop=True)
    tables.write(photographs, "photographs", folder / "photos.parquet")
    for name, rows in (("wild", len(photographs)), ("canonical", len(speakers)), ("landmarks", len(speakers))):
        first = blocks.load(faces[0].path, name)[name]
        with replacing(folder / f"{name}.npy") as temporary:
            joined, start = open_memmap(temporary, "w+", first.dtype, (rows, *first.shape[1:])), 0
            for block in faces:
                part = blocks.load(block.path, name)[name]
                joined[start : start + len(part)] = part
                start += len(part)
            joined.flush()
    nuisance = np.concatenate([blocks.load(block.path, "nuisance")["nuisance"] for block in faces])
    taken = pd.DataFrame(nuisance, columns=list(render.NUISANCE))
    return taken.assign(glasses=taken["glasses"].astype(int))


def _entropy(seed: int, speaker_id: str, kind: str) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, zlib.crc32(speaker_id.encode()), zlib.crc32(kind.encode())])


def _check(people: pd.DataFrame) -> None:
    faces = [f"face_{name}" for name in head.PARAMETERS]
    needed = {"speaker_id", "split", "glasses", *SPEAKER, *VOICE, *faces}
    if missing := sorted(needed - set(people.columns)):
        raise UserError(f"The people table lacks {', '.join(missing)}; make it by `s2f.synthetic.people.sample`.")
    if people["speaker_id"].duplicated().any():
        twice = people.loc[people["speaker_id"].duplicated(), "speaker_id"].iloc[0]
        raise UserError(f"The people table holds speaker {twice!r} twice; give every speaker one row.")
    for _, speaker in people.iterrows():
        speech.voice_of(speaker)  # raises for a voice that cannot be had, before any work is done
