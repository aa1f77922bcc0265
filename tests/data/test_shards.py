import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2f.data.shards import Shards, ShardWriter
from s2f.signal.audio import fit_length
from s2f.study.paths import UserError


def clips_of(lengths, rng):
    return [rng.integers(-32768, 32768, length).astype(np.int16) for length in lengths]


def packed(folder, clips, shard_samples=100):
    """The manifest columns of clips written to `folder`."""
    with ShardWriter(folder, "train", shard_samples) as writer:
        places = [writer.append(clip) for clip in clips]
    table = pd.DataFrame(places, columns=["audio_shard", "audio_offset"])
    return table.assign(audio_samples=[len(clip) for clip in clips])


@settings(max_examples=30)
@given(lengths=st.lists(st.integers(1, 150), min_size=1, max_size=20), shard_samples=st.integers(1, 200))
def test_what_is_written_is_read_back(lengths, shard_samples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    clips = clips_of(lengths, np.random.default_rng(0))
    rows = packed(folder, clips, shard_samples)
    shards = Shards(folder)
    for clip, row in zip(clips, rows.itertuples(index=False), strict=True):
        assert np.array_equal(shards.clip(*row), clip)
    sizes = {path.name: path.stat().st_size // 2 for path in folder.iterdir()}
    assert sizes == rows.groupby("audio_shard")["audio_samples"].sum().to_dict()
    # Only a clip too long for any shard makes one that passes the limit.
    assert all(size <= shard_samples or size in lengths for size in sizes.values())


def test_shards_are_headerless_little_endian_files(tmp_path):
    packed(tmp_path, [np.array([1, -2], np.int16)])
    assert (tmp_path / "train-000.i16").read_bytes() == b"\x01\x00\xfe\xff"


def test_shards_appear_only_at_close(tmp_path, rng):
    writer = ShardWriter(tmp_path, "train", 100)
    names = {writer.append(clip)[0] for clip in clips_of([80, 80], rng)}
    assert names == {"train-000.i16", "train-001.i16"}
    assert not any((tmp_path / name).exists() for name in names)
    writer.close()
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_failed_run_leaves_the_old_shards_alone(tmp_path, rng):
    old, new = clips_of([80, 80], rng)
    row = packed(tmp_path, [old]).iloc[0]
    with pytest.raises(KeyboardInterrupt), ShardWriter(tmp_path, "train", 100) as writer:
        writer.append(new)
        raise KeyboardInterrupt
    assert np.array_equal(Shards(tmp_path).clip(*row), old)
    assert len(list(tmp_path.iterdir())) == 1


def test_an_empty_clip_is_refused(tmp_path):
    with ShardWriter(tmp_path, "train", 100) as writer, pytest.raises(UserError, match="cannot be packed"):
        writer.append(np.zeros(0, np.int16))


@settings(max_examples=30)
@given(data=st.data(), samples=st.integers(1, 120))
def test_gather_is_fit_length_of_each_clip(data, samples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    lengths = data.draw(st.lists(st.integers(1, 60), min_size=1, max_size=8))
    starts = np.array([data.draw(st.integers(0, length - 1)) for length in lengths])
    clips = clips_of(lengths, np.random.default_rng(0))
    rows = packed(folder, clips)
    expected = [fit_length(clip[start:], samples) for clip, start in zip(clips, starts, strict=True)]
    batch = Shards(folder).gather(rows, samples, start=starts)
    assert batch.dtype == np.int16 and batch.flags.writeable
    assert np.array_equal(batch, expected)


def test_gather_takes_columns_as_well_as_rows(tmp_path, rng):
    rows = packed(tmp_path, clips_of([50, 60, 70], rng))
    shards = Shards(tmp_path)
    columns = tuple(rows[name] for name in ("audio_shard", "audio_offset", "audio_samples"))
    assert np.array_equal(shards.gather(rows.iloc[[2, 0]], 40), shards.gather(columns, 40)[[2, 0]])


def test_a_clip_is_a_read_only_view(tmp_path, rng):
    row = packed(tmp_path, clips_of([50], rng)).iloc[0]
    shards = Shards(tmp_path)
    assert np.shares_memory(shards.clip(*row), shards.clip(*row))
    assert not shards.clip(*row).flags.writeable


def test_pickling_takes_the_folder_and_not_the_sound(tmp_path, rng):
    clip = clips_of([5000], rng)[0]
    row = packed(tmp_path, [clip], 5000).iloc[0]
    shards = Shards(tmp_path)
    shards.clip(*row)
    data = pickle.dumps(shards)
    assert len(data) < 1000
    assert np.array_equal(pickle.loads(data).clip(*row), clip)


@pytest.mark.parametrize("name", ["../outside.i16", "/etc/hostname", "..", ""])
def test_a_shard_that_leads_out_of_its_folder_is_refused(name, tmp_path):
    (tmp_path / "outside.i16").write_bytes(bytes(64))
    (tmp_path / "audio").mkdir()
    with pytest.raises(UserError, match="is not in|no audio shard"):
        Shards(tmp_path / "audio").clip(name, 0, 8)


@pytest.mark.parametrize(("offset", "samples"), [(0, 51), (-1, 10), (50, 1), (0, 0)])
def test_a_clip_outside_its_shard_is_refused(offset, samples, tmp_path, rng):
    packed(tmp_path, clips_of([50], rng))
    with pytest.raises(UserError, match="train-000.i16 has 50 samples"):
        Shards(tmp_path).clip("train-000.i16", offset, samples)


def test_a_missing_shard_is_named(tmp_path):
    with pytest.raises(UserError, match="test-000.i16"):
        Shards(tmp_path).clip("test-000.i16", 0, 1)


@pytest.mark.parametrize("start", [-1, 50])
def test_a_start_outside_the_clip_is_refused(start, tmp_path, rng):
    rows = packed(tmp_path, clips_of([50], rng))
    with pytest.raises(UserError, match="outside a clip of 50 samples"):
        Shards(tmp_path).gather(rows, 10, start=start)
