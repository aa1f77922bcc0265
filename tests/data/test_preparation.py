"""Preparation in blocks: the bytes of a plain one, whoever does the work and however often it is interrupted."""

import errno
import os
import shutil
import subprocess
from functools import partial
from threading import Thread

import numpy as np
import pandas as pd
import pytest
from own_data import make

from s2f.data import checksums, preparation
from s2f.data.corpus import Corpus
from s2f.data.sources import folder
from s2f.signal import speech
from s2f.signal.canonical import align, canonical_faces, pose
from s2f.signal.images import read_image
from s2f.study import blocks
from s2f.study.paths import UserError

SIZE, SECONDS = 32, 2.0


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Six people; one picture and one sound cannot be used."""
    place = tmp_path_factory.mktemp("toy") / "files"
    table = make(place, train=3, val=1, test=2)
    (place / table["sound"][0]).with_name("empty.wav").touch()
    bad = table.iloc[[0]].assign(sound="sounds/empty.wav", photographs="photographs/absent.png")
    pd.concat([bad, table]).to_csv(place / "recordings.csv", index=False)
    return place


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(preparation, "BLOCK", 3)


def built(files, target, **settings):
    aside = folder.SetAside()
    recordings = folder.read_table(files / "recordings.csv", aside)
    common = {"size": SIZE, "seconds": SECONDS, "seed": 1, "shares": (0.2, 0.2), "source": "toy", "aside": aside}
    detect = folder.landmarks_from(files / "landmarks.csv")
    return folder.build(recordings, target / "data", detect, **common | settings)


def sums(target):
    return (target / "data" / "SHA256SUMS").read_text()


@pytest.fixture(scope="module")
def whole(files, tmp_path_factory):
    """A corpus that one process made in one block of each kind."""
    target = tmp_path_factory.mktemp("whole")
    built(files, target)
    return target


def test_the_bytes_are_those_of_a_plain_preparation(files, whole):
    corpus = Corpus.open(whole / "data")
    marked = pd.read_csv(files / "landmarks.csv").set_index("photograph")
    table = pd.read_csv(files / "recordings.csv").iloc[1:].drop_duplicates("speaker").sort_values("speaker")
    names = [(row.speaker, name) for row in table.itertuples() for name in row.photographs.split(";")]
    points = np.stack([marked.loc[name].to_numpy().reshape(68, 2) for _, name in names])
    cut = [align(read_image(files / name), each, SIZE) for (_, name), each in zip(names, points, strict=True)]
    images, landmarks = (np.stack(part) for part in zip(*cut, strict=True))
    owners = corpus.rows([speaker for speaker, _ in names])
    canonical, places = canonical_faces(images, landmarks, pose(points), owners)
    np.testing.assert_array_equal(corpus.images, images)
    np.testing.assert_array_equal(corpus.canonical, canonical)
    np.testing.assert_array_equal(corpus.landmarks, places)
    np.save(whole / "plain.npy", images)
    assert (whole / "plain.npy").read_bytes() == (whole / "data" / "faces" / "wild.npy").read_bytes()
    spoken = pd.read_csv(files / "recordings.csv").iloc[1:].groupby("split", sort=False)
    for split, rows in spoken:
        plain = np.concatenate([speech.read(files / name, SECONDS) for name in rows["sound"]])
        assert plain.tobytes() == (whole / "data" / "audio" / f"{split}-000.i16").read_bytes()
    assert corpus.rejected["kind"].tolist() == ["photograph", "recording"]


def test_the_bytes_do_not_depend_on_the_blocks(files, whole, tmp_path, small_blocks):
    built(files, tmp_path)
    assert sums(tmp_path) == sums(whole)
    assert [path.name for path in (tmp_path / "scratch" / "preparation").iterdir()] == ["lock"]


def test_the_bytes_do_not_depend_on_the_number_of_processes(files, whole, tmp_path, small_blocks):
    built(files, tmp_path, workers=2)
    assert sums(tmp_path) == sums(whole)


def test_an_interrupted_preparation_goes_on_where_it_stopped(files, whole, tmp_path, small_blocks, monkeypatch):
    read, pictures = [], []

    def stopped(path, seconds):
        if len(read) == 6:
            raise KeyboardInterrupt
        read.append(path)
        return read_sound(path, seconds)

    read_sound, read_picture = speech.read, preparation.read_image
    monkeypatch.setattr(preparation.speech, "read", stopped)
    with pytest.raises(KeyboardInterrupt):
        built(files, tmp_path)
    assert not (tmp_path / "data").exists()
    monkeypatch.setattr(
        preparation.speech, "read", lambda path, seconds: read.append(path) or read_sound(path, seconds)
    )
    monkeypatch.setattr(preparation, "read_image", lambda path: pictures.append(path) or read_picture(path))
    built(files, tmp_path)
    assert not pictures and len(read) == 9 + 1  # one sound of the second block was read twice
    assert sums(tmp_path) == sums(whole)


def test_a_file_that_changed_meanwhile_is_read_again(files, tmp_path, small_blocks, monkeypatch):
    mine = tmp_path / "files"
    shutil.copytree(files, mine)
    monkeypatch.setattr(folder, "_canonical", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        built(mine, tmp_path)
    monkeypatch.undo()
    sound = sorted((mine / "sounds").glob("*-0.wav"))[0]
    os.utime(sound, ns=(0, 0))
    read = []
    read_sound = speech.read
    monkeypatch.setattr(
        preparation.speech, "read", lambda path, seconds: read.append(path) or read_sound(path, seconds)
    )
    monkeypatch.setattr(preparation, "BLOCK", 3)
    built(mine, tmp_path)
    assert sound in read and len(read) <= 3


def test_a_block_that_was_damaged_on_the_disk_is_made_again(files, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_canonical", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        built(files, tmp_path)
    monkeypatch.undo()
    (block,) = (tmp_path / "scratch" / "preparation").glob("photographs-*.npz")
    content = bytearray(block.read_bytes())
    content[len(content) // 3] ^= 1
    block.write_bytes(content)
    with pytest.raises(UserError, match=f"{block.name} was damaged on the disk and is removed"):
        built(files, tmp_path)
    built(files, tmp_path)
    assert sums(tmp_path) == sums(whole)


@pytest.mark.parametrize("name", ["audio/train-000.i16", "faces/wild.npy", "people.parquet"])
def test_a_flipped_byte_is_named(name, whole, tmp_path):
    shutil.copytree(whole / "data", tmp_path / "data")
    assert checksums.verify(tmp_path / "data") == 10
    path = tmp_path / "data" / name
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"The bytes of .*{name} are not those that were written"):
        checksums.verify(tmp_path / "data")
    path.unlink()
    with pytest.raises(UserError, match=f"There is no .*{name}"):
        checksums.verify(tmp_path / "data")


def test_sha256sum_checks_the_same_file(whole):
    subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=whole / "data", check=True, capture_output=True
    )


def test_reading_leaves_no_trace(whole):
    """So it may lie on a disk that is read-only, or shared with others."""
    before = {path: path.stat().st_mtime_ns for path in (whole / "data").rglob("*")}
    corpus = Corpus.open(whole / "data")
    corpus.shards.gather(corpus.clips, 100)
    assert not corpus.images.flags.writeable and not corpus.canonical.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        corpus.shards.clip(*corpus.clips.loc[0, ["audio_shard", "audio_offset", "audio_samples"]])[0] = 0
    assert {path: path.stat().st_mtime_ns for path in (whole / "data").rglob("*")} == before


# What ends the work from outside


def test_a_killed_process_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="was killed, most often for want of memory"):
        blocks.spread({tmp_path / "a.npz": partial(os._exit, 9), tmp_path / "b.npz": partial(dict)}, workers=2)


def test_a_full_disk_is_one_sentence(tmp_path):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device", "somewhere")

    with pytest.raises(UserError, match="There is no space left on the disk for somewhere: make room"):
        blocks.spread({tmp_path / "a.npz": partial(full)}, workers=1)


def test_a_folder_of_blocks_is_held_by_one_at_a_time(tmp_path, capsys):
    order = []

    def enter():
        with blocks.alone(tmp_path):
            order.append("second")

    other = Thread(target=enter)
    with blocks.alone(tmp_path):
        other.start()
        other.join(timeout=0.3)
        order.append("first")
    other.join()
    assert order == ["first", "second"] and "Another process does this work" in capsys.readouterr().out


def test_a_scheduler_that_cannot_be_one_is_named(tmp_path):
    with pytest.raises(UserError, match="No Dask scheduler answers at nowhere:/x"):
        blocks.spread({tmp_path / "a.npz": partial(dict)}, workers=1, scheduler="nowhere:/x")
