"""The synthetic corpus: the same bytes however it was made, and tables that agree with the files."""

import hashlib
import json
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

from s2f.data import manifest
from s2f.data.shards import Shards
from s2f.data.sources import synthetic as corpus
from s2f.signal.audio import SAMPLE_RATE
from s2f.study.paths import UserError
from s2f.synthetic import people, pool

SETTINGS = {
    "clips_per_speaker": {"train": 3, "val": 1, "test": 2},
    "seconds": {"train": 1.5, "val": 1.0, "test": 2.0},
    "photos_per_speaker": 2,
    "size": 16,
    "session_spread": 1.0,
    "photo_spread": 1.0,
    "seed": 5,
}
SPEAKERS = {"train": 20, "val": 2, "test": 3}  # train fills more than one block


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As in the workers: on a busy machine two threads on such small pictures wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def table():
    parts = [people.sample(n, split=split, seed=1, strength=1.0, confound=0.5) for split, n in SPEAKERS.items()]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def built(table, tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    (root / "data" / "audio").mkdir(parents=True)
    (root / "data" / "audio" / "train-007.i16").write_bytes(b"of a larger corpus")
    clips = corpus.build(table, **SETTINGS, folder=root / "data", scratch=root / "scratch", workers=2)
    return root, clips


def digests(folder):
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Interrupted(Exception):
    pass


def stopped_after(blocks, monkeypatch):
    """Make a build fail once so many blocks have come back."""
    complete = pool.as_completed

    def some(futures):
        for count, future in enumerate(complete(futures)):
            if count == blocks:
                raise Interrupted
            yield future

    monkeypatch.setattr(pool, "as_completed", some)


def test_an_interrupted_build_goes_on_to_the_same_bytes_with_another_number_of_workers(
    table, built, tmp_path, monkeypatch
):
    arguments = SETTINGS | {"folder": tmp_path / "data", "scratch": tmp_path / "scratch", "workers": 1}
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        stopped_after(3, patch)
        corpus.build(table, **arguments)
    assert not multiprocessing.active_children()
    assert not (tmp_path / "data").exists()
    finished = sorted((tmp_path / "scratch").glob("[!.]*.npz"))
    assert len(finished) >= 3
    finished[0].unlink()
    whole = finished[1].read_bytes()
    finished[1].write_bytes(whole[: len(whole) // 2])

    made = []
    monkeypatch.setattr(pool.ProcessPoolExecutor, "submit", noting(made))
    corpus.build(table, **arguments)
    assert finished[0] in made and finished[1] in made and finished[2] not in made
    assert digests(tmp_path / "data") == digests(built[0] / "data")
    assert not list((tmp_path / "scratch").iterdir())


def noting(made):
    """A `submit` that also notes which blocks it is given."""
    submit = pool.ProcessPoolExecutor.submit

    def noted(executor, work, block):
        made.append(block.path)
        return submit(executor, work, block)

    return noted


def test_a_speaker_does_not_depend_on_who_else_is_in_the_table(table, built):
    root, clips = built
    audio, faces = Shards(root / "data" / "audio"), root / "data" / "faces"
    few = table.iloc[[19, 3]]
    settings = {"spread": 1.0, "seed": SETTINGS["seed"]}
    alone = corpus.speech_block(few, clips=3, seconds=1.5, **settings)["audio"]
    names = [f"{speaker}-{i:02d}" for speaker in few["speaker_id"] for i in range(3)]
    places = clips.set_index("clip_id").loc[names, ["audio_shard", "audio_offset", "audio_samples"]]
    for wave, place in zip(alone, places.itertuples(index=False), strict=True):
        np.testing.assert_array_equal(wave, audio.clip(*place))
    drawn = corpus.face_block(few, photos=2, size=16, **settings)
    np.testing.assert_array_equal(drawn["canonical"], np.load(faces / "canonical.npy")[few.index])
    wild = np.load(faces / "wild.npy").reshape(-1, 2, 16, 16, 3)[few.index]
    np.testing.assert_array_equal(drawn["wild"], wild.reshape(4, 16, 16, 3))


def test_the_manifest_keeps_its_schema_and_says_what_is_in_the_shards(table, built):
    root, clips = built
    on_disk = manifest.read(root / "data" / "manifest.parquet")
    pd.testing.assert_frame_equal(on_disk, manifest.check(clips))
    manifest.check_audio(on_disk, root / "data" / "audio")
    assert on_disk.groupby("split", sort=False).size().to_dict() == {"train": 60, "val": 2, "test": 6}
    assert (on_disk["audio_samples"] == on_disk["split"].map(SETTINGS["seconds"]) * SAMPLE_RATE).all()
    shards = list((root / "data" / "audio").iterdir())  # and none of those that were there before
    assert sum(path.stat().st_size for path in shards) == 2 * on_disk["audio_samples"].sum()
    pd.testing.assert_frame_equal(pd.read_parquet(root / "data" / "people.parquet"), table)


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
    glasses = table.set_index("speaker_id")["glasses"].loc[photos["speaker_id"]]
    assert (photos["glasses"].to_numpy() == glasses.to_numpy()).all()
    assert photos["bg0"].nunique() > 40  # each photograph has a ground of its own


def test_faces_are_pictures_and_landmarks_of_the_people(table, built):
    faces = built[0] / "data" / "faces"
    canonical, wild, landmarks = (np.load(faces / f"{name}.npy") for name in ("canonical", "wild", "landmarks"))
    assert canonical.shape == (25, 16, 16, 3) and wild.shape == (50, 16, 16, 3)
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
        corpus.face_block(rows.assign(glasses=value), photos=2, size=32, spread=0.0, seed=1) for value in (0, 1)
    )
    np.testing.assert_array_equal(bare["canonical"], worn["canonical"])
    assert (bare["wild"] != worn["wild"]).any(axis=(1, 2, 3)).all()


def test_the_session_is_recorded_as_truth(table):
    block = corpus.speech_block(table.iloc[:4], clips=2, seconds=0.5, spread=0.0, seed=1)
    truth = pd.DataFrame(block["truth"], columns=list(corpus.CLIP_TRUTH))
    for name in ("f0_hz", "vtl_cm"):
        np.testing.assert_allclose(truth[name], table[name].iloc[:4].repeat(2))


def test_a_block_depends_on_rows_settings_and_nothing_else(table, tmp_path):
    def name(rows, **arguments):
        (block,) = corpus._blocks(corpus.speech_block, rows, arguments, tmp_path)
        return block.path

    first = name(table.iloc[:5], clips=1, seed=0)
    assert first == name(table.iloc[:5].copy(), clips=1, seed=0)
    assert first != name(table.iloc[:5], clips=1, seed=1)
    assert first != name(table.iloc[1:6], clips=1, seed=0)
    assert first != name(table.iloc[:5].assign(wpm=150.0), clips=1, seed=0)


@pytest.mark.parametrize("change", ["column", "twice", "split", "language"])
def test_a_table_that_cannot_be_built_is_refused_by_name(table, tmp_path, change):
    wrong = {
        "column": table.drop(columns="face_jaw_w"),
        "twice": pd.concat([table, table.iloc[:1]]),
        "split": table.assign(split="extra"),
        "language": table.assign(language="tlh"),
    }[change]
    named = {"column": "face_jaw_w", "twice": "train00000", "split": "extra", "language": "tlh"}[change]
    with pytest.raises(UserError, match=named):
        corpus.build(wrong, **SETTINGS, folder=tmp_path, scratch=tmp_path / "scratch", workers=1)
    assert not list(tmp_path.iterdir())


SCRIPT = """
import json, sys
from pathlib import Path
import pandas as pd
from s2f.synthetic import corpus
if __name__ == "__main__":
    root = Path(sys.argv[1])
    settings = json.loads((root / "settings.json").read_text())
    people = pd.read_parquet(root / "table.parquet")
    corpus.build(people, **settings, folder=root / "data", scratch=root / "scratch", workers=2)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to a process group")
def test_control_c_stops_at_once_and_leaves_finished_blocks(table, tmp_path):
    # The recordings of the test split are three hours of speech: they are not ready when the first block is.
    settings = SETTINGS | {"seconds": {"train": 1.5, "val": 1.0, "test": 60.0}}
    settings |= {"clips_per_speaker": {"train": 3, "val": 1, "test": 60}}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    table.to_parquet(tmp_path / "table.parquet")
    (tmp_path / "script.py").write_text(SCRIPT)
    said, finished = interrupted_at_first_block(tmp_path)
    assert said is not None and b"KeyboardInterrupt" in said
    assert finished and finished <= set((tmp_path / "scratch").glob("*.npz"))
    assert not (tmp_path / "data").exists()


def interrupted_at_first_block(folder):
    """What the script says when Ctrl-C comes with its first block (None: it does not end), and that block."""
    run = subprocess.Popen(
        [sys.executable, folder / "script.py", folder],
        env={**os.environ, "PYTHONPATH": str(Path(corpus.__file__).parents[2])},
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
        _, said = run.communicate(timeout=15)  # ends when the last process that holds the pipe has ended
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        return None, finished
    return said, finished


def test_people_without_clips_have_photographs_only(table, tmp_path):
    silent = table.assign(split="face", speaker_id="face-" + table["speaker_id"]).iloc[:2]
    both = pd.concat([table[table["split"] == "test"], silent], ignore_index=True)
    settings = SETTINGS | {"clips_per_speaker": SETTINGS["clips_per_speaker"] | {"face": 0}}
    clips = corpus.build(both, **settings, folder=tmp_path / "data", scratch=tmp_path / "scratch", workers=1)
    assert set(clips["split"]) == {"test"}
    assert len(np.load(tmp_path / "data" / "faces" / "wild.npy")) == 2 * len(both)
    owners = pd.read_parquet(tmp_path / "data" / "faces" / "photos.parquet")["split"]
    assert (owners == "face").sum() == 4
