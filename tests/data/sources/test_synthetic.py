"""The synthetic corpus: the same bytes however it was made, and tables that agree with the files."""

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from s2f.data import tables
from s2f.data.shards import Shards
from s2f.data.sources import synthetic
from s2f.signal.audio import SAMPLE_RATE
from s2f.study import blocks, config
from s2f.study.paths import UserError
from s2f.synthetic import people

SPEAKERS = {"train": 20, "val": 2, "test": 3}  # train fills more than one block
WORLD = config.World(
    seed=5,
    strength=1.0,
    group_shares={"G1": 0.25, "G2": 0.25, "G3": 0.25, "G4": 0.25},
    confound=0.5,
    confound_test=0.5,
    **{f"{split}_speakers": speakers for split, speakers in SPEAKERS.items()},
    face_identities=0,
    train_clips=3,
    test_clips=2,
    train_seconds=1.5,
    test_seconds=1.0,
    photos=2,
    size=32,
    session_spread=1.0,
    photo_spread=1.0,
    workers=2,
)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As in the workers: on a busy machine two threads on such small pictures wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def table():
    return people.everybody(WORLD)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    (root / "data" / "audio").mkdir(parents=True)
    (root / "data" / "audio" / "train-007.i16").write_bytes(b"of a larger corpus")
    return root, synthetic.build(WORLD, root / "data", root / "scratch").clips


def digests(folder):
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_an_interrupted_build_goes_on_to_the_same_bytes_with_another_number_of_workers(built, tmp_path, monkeypatch):
    data, scratch, complete = tmp_path / "data", tmp_path / "scratch", blocks.as_completed

    def interrupted(futures):
        for count, future in enumerate(complete(futures)):
            if count == 3:
                raise KeyboardInterrupt
            yield future

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(blocks, "as_completed", interrupted)
        synthetic.build(WORLD, data, scratch)
    assert not multiprocessing.active_children()
    assert not data.exists()
    finished = sorted(scratch.glob("[!.]*.npz"))
    assert len(finished) >= 3
    times = {path: path.stat().st_mtime_ns for path in finished[1:]}
    whole = finished[0].read_bytes()
    finished[0].write_bytes(whole[: len(whole) // 2])
    unlink = Path.unlink

    def noting(path, missing_ok=False):
        if path in times:
            assert path.stat().st_mtime_ns == times.pop(path)  # it was not made again
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", noting)
    synthetic.build(WORLD.model_copy(update={"workers": 1}), data, scratch)
    assert not times and not list(scratch.iterdir())
    assert digests(data / "faces") == digests(built[0] / "data" / "faces")
    assert digests(data / "audio") == digests(built[0] / "data" / "audio")


def test_a_speaker_does_not_depend_on_who_else_is_in_the_table(table, built):
    root, clips = built
    audio, faces = Shards(root / "data" / "audio"), root / "data" / "faces"
    few = table.iloc[[19, 3]]
    settings = {"spread": 1.0, "seed": WORLD.seed}
    alone = synthetic.speech_block(few, clips=3, seconds=1.5, **settings)["audio"]
    names = [f"{speaker}-{i:02d}" for speaker in few["speaker_id"] for i in range(3)]
    places = clips.set_index("clip_id").loc[names, ["audio_shard", "audio_offset", "audio_samples"]]
    for wave, place in zip(alone, places.itertuples(index=False), strict=True):
        np.testing.assert_array_equal(wave, audio.clip(*place))
    drawn = synthetic.face_block(few, photos=2, size=32, **settings)
    np.testing.assert_array_equal(drawn["canonical"], np.load(faces / "canonical.npy")[few.index])
    wild = np.load(faces / "wild.npy").reshape(-1, 2, 32, 32, 3)[few.index]
    np.testing.assert_array_equal(drawn["wild"], wild.reshape(4, 32, 32, 3))


def test_the_manifest_says_what_is_in_the_shards(built):
    root, clips = built
    on_disk = tables.read("clips", root / "data" / "manifest.parquet")
    pd.testing.assert_frame_equal(on_disk, clips)
    assert on_disk.groupby("split", sort=False).size().to_dict() == {"train": 60, "val": 4, "test": 6}
    seconds = on_disk["split"].map(
        {"train": WORLD.train_seconds, "val": WORLD.test_seconds, "test": WORLD.test_seconds}
    )
    assert (on_disk["audio_samples"] == seconds * SAMPLE_RATE).all()
    shards = list((root / "data" / "audio").iterdir())  # and none of those that were there before
    assert sum(path.stat().st_size for path in shards) == 2 * on_disk["audio_samples"].sum()


def test_no_clip_is_silent_or_clipped_and_no_two_are_the_same(built):
    root, clips = built
    shards = Shards(root / "data" / "audio")
    seen = set()
    for row in clips.itertuples():
        wave = shards.clip(row.audio_shard, row.audio_offset, row.audio_samples)
        assert 0.02 < np.sqrt(np.mean((wave / 32768) ** 2)) and np.abs(wave.astype(int)).max() < 32767
        seen.add(wave.tobytes())
    assert len(seen) == len(clips)


def test_a_clip_comes_with_a_photograph_of_its_speaker(table, built):
    root, clips = built
    photos = pd.read_parquet(root / "data" / "faces" / "photos.parquet")
    assert len(photos) == len(table) * 2
    assert (photos["speaker_id"].to_numpy()[clips["face"].astype(int)] == clips["speaker_id"]).all()
    assert (photos["split"].to_numpy()[clips["face"].astype(int)] == clips["split"]).all()
    assert clips.groupby("speaker_id")["face"].nunique()[table["speaker_id"][0]] == 2


def test_faces_are_pictures_and_landmarks_of_the_people(table, built):
    faces = built[0] / "data" / "faces"
    canonical, wild, landmarks = (np.load(faces / f"{name}.npy") for name in ("canonical", "wild", "landmarks"))
    assert canonical.shape == (25, 32, 32, 3) and wild.shape == (50, 32, 32, 3)
    assert canonical.dtype == wild.dtype == np.uint8
    assert landmarks.shape == (25, 68, 2) and landmarks.dtype == np.float32
    assert len(np.unique(canonical.reshape(25, -1), axis=0)) == 25
    # The widest face has its jaw drawn widest: landmarks belong to the rows of the people.
    width = landmarks[:, :17, 0].max(1) - landmarks[:, :17, 0].min(1)
    assert np.corrcoef(width, table["face_face_w"])[0, 1] > 0.9
    light = canonical.reshape(25, -1).mean(1)
    assert np.corrcoef(light, table["face_ita"])[0, 1] > 0.5


def test_wearing_glasses_changes_the_photographs_but_not_the_canonical_face(table):
    rows = table.iloc[:2]
    bare, worn = (
        synthetic.face_block(rows.assign(glasses=value), photos=2, size=32, spread=0.0, seed=1) for value in (0, 1)
    )
    np.testing.assert_array_equal(bare["canonical"], worn["canonical"])
    assert (bare["wild"] != worn["wild"]).any(axis=(1, 2, 3)).all()


def test_the_session_is_recorded_as_truth(table):
    block = synthetic.speech_block(table.iloc[:4], clips=2, seconds=0.5, spread=0.0, seed=1)
    truth = pd.DataFrame(block["truth"], columns=list(synthetic.CLIP_TRUTH))
    for name in ("f0_hz", "vtl_cm"):
        np.testing.assert_allclose(truth[name], table[name].iloc[:4].repeat(2))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda table: table.drop(columns="face_jaw_w"), "face_jaw_w"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "train00000"),
        (lambda table: table.assign(language="tlh"), "tlh"),
    ],
)
def test_a_table_that_cannot_be_built_is_refused_by_name(table, tmp_path, change, named):
    with pytest.raises(UserError, match=named):
        synthetic.build(WORLD, tmp_path, tmp_path / "scratch", change(table))
    assert not list(tmp_path.iterdir())


SCRIPT = """
import sys
from pathlib import Path
from s2f.data.sources import synthetic
from s2f.study.config import World
if __name__ == "__main__":
    root = Path(sys.argv[1])
    world = World.model_validate_json((root / "world.json").read_text())
    synthetic.build(world, root / "data", root / "scratch")
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to a process group")
def test_control_c_stops_at_once_and_leaves_finished_blocks(tmp_path):
    # The recordings of the test split are hours of speech: they are not ready when the first block is.
    world = WORLD.model_copy(update={"test_clips": 60, "test_seconds": 60.0})
    (tmp_path / "world.json").write_text(world.model_dump_json())
    (tmp_path / "script.py").write_text(SCRIPT)
    output, finished = interrupted_at_first_block(tmp_path)
    assert output is not None and b"KeyboardInterrupt" in output
    assert finished and finished <= set((tmp_path / "scratch").glob("*.npz"))
    assert not (tmp_path / "data").exists()


def interrupted_at_first_block(folder):
    """What the script writes when Ctrl-C comes with its first block (None: it does not end), and that block."""
    run = subprocess.Popen(
        [sys.executable, folder / "script.py", folder],
        env={**os.environ, "PYTHONPATH": str(Path(synthetic.__file__).parents[3])},
        start_new_session=True,
        stderr=subprocess.PIPE,
        # What a shell starts in the background, and all that comes from it, ignores Ctrl-C; these tests may be such.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline, finished = time.monotonic() + 90, set()
    while not finished and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
        finished = set((folder / "scratch").glob("[!.]*.npz"))
    os.killpg(run.pid, signal.SIGINT)
    try:
        _, output = run.communicate(timeout=15)  # ends when the last process that holds the pipe has ended
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        return None, finished
    return output, finished


def test_people_without_clips_have_photographs_only(table, tmp_path):
    silent = table.assign(split="face", speaker_id="face-" + table["speaker_id"]).iloc[:2]
    both = pd.concat([table[table["split"] == "test"], silent], ignore_index=True)
    corpus = synthetic.build(WORLD, tmp_path / "data", tmp_path / "scratch", both)
    assert set(corpus.clips["split"]) == {"test"}
    assert len(np.load(tmp_path / "data" / "faces" / "wild.npy")) == 2 * len(both)
    owners = pd.read_parquet(tmp_path / "data" / "faces" / "photos.parquet")["split"]
    assert (owners == "face").sum() == 4
