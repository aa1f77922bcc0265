"""Heads on front ends that learned elsewhere: what they learn holds for new people."""

import numpy as np
import pandas as pd
import pytest

from s2f.data.corpus import Corpus
from s2f.data.shards import ShardWriter
from s2f.heads import baselines
from s2f.metrics import paired, similarity
from s2f.signal import voice_statistics
from s2f.signal.audio import FULL_SCALE, SAMPLE_RATE


@pytest.fixture
def corpus(tmp_path, rng):
    """Buzzes of different pitch, 0.8 to 1.2 s."""
    rows = []
    with ShardWriter(tmp_path / "audio", "train", SAMPLE_RATE) as writer:
        for number, seconds in enumerate((0.8, 1.2, 1.0)):
            time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
            buzz = np.sign(np.sin(2 * np.pi * (100 + 20 * number) * time)) + 0.1 * rng.normal(size=len(time))
            shard, offset = writer.append((3000 * buzz).astype(np.int16))
            rows.append(("ab"[number % 2], shard, offset, len(time)))
    clips = pd.DataFrame(rows, columns=["speaker_id", *baselines.PLACE])
    return Corpus(tmp_path, clips, pd.DataFrame(), pd.DataFrame())


def test_each_recording_is_seen_by_itself_and_no_longer_than_it_may(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "BLOCK", 2)
    found = baselines.embed(corpus, corpus.clips, 1.0, "phonetics", tmp_path, tmp_path / "scratch", workers=1)
    for row, (_, shard, offset, samples) in zip(found, corpus.clips.itertuples(index=False), strict=True):
        wave = corpus.shards.clip(shard, offset, min(samples, SAMPLE_RATE)).astype(np.float32) / FULL_SCALE
        assert np.array_equal(row, voice_statistics.statistics(wave).astype(np.float32), equal_nan=True)
    assert not list((tmp_path / "scratch").glob("*.npz"))


def test_a_finished_block_is_not_made_again(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "BLOCK", 1)
    real, made = baselines._Phonetics.__call__, []

    def seldom(self, spoken):
        made.append(len(spoken))
        if len(made) == 3:
            raise KeyboardInterrupt
        return real(self, spoken)

    monkeypatch.setattr(baselines._Phonetics, "__call__", seldom)
    embed = (corpus, corpus.clips, 1.0, "phonetics", tmp_path, tmp_path / "scratch", 1)
    with pytest.raises(KeyboardInterrupt):
        baselines.embed(*embed)
    assert len(baselines.embed(*embed)) == 3 and len(made) == 4


def test_some_recordings_of_each_speaker_stand_side_by_side(corpus):
    assert baselines.some_of_each(corpus.clips, 1)["speaker_id"].tolist() == ["a", "b"]
    assert baselines.some_of_each(corpus.clips, 5).index.tolist() == [0, 2, 1]


@pytest.mark.parametrize("related", [True, False])
def test_heads_find_new_people_by_what_voices_tell_and_nobody_where_they_tell_nothing(related, rng):
    """150 people with two recordings each to learn from, 60 new ones to be found; one number is unknown of a voice."""
    people = [f"p{number:03d}" for number in range(210)]
    traits, mixing = rng.normal(size=(210, 5)), rng.normal(size=(5, 8))
    faces = pd.DataFrame((traits if related else rng.normal(size=(210, 5))) @ mixing, people)
    faces += 0.3 * rng.normal(size=faces.shape)
    voices = np.repeat(traits, 2, axis=0) + 0.3 * rng.normal(size=(420, 5))
    voices[7, 0] = np.nan
    seen = slice(0, 300)
    learned = baselines.learn(
        voices[seen].astype(np.float32),
        pd.Series(np.repeat(people, 2))[seen],
        faces,
        "phonetics",
        folds=4,
        seed=0,
        dims=5,
        steps=[0, 20],
    )
    predicted, gallery = learned.predict(voices[300::2].astype(np.float32)), np.array(faces[150:], np.float32)
    mean = faces[:150].to_numpy().mean(axis=0)
    for metric in (baselines.centred_cosine(mean), learned.matcher.score):
        wins = paired.ranks(paired.scores(predicted, gallery, metric)).wins.mean()
        # Unrelated: four standard errors of a mean of uniform numbers.
        assert wins > 0.9 if related else abs(wins - 0.5) < 4 * (1 / 12 / 60) ** 0.5


def test_a_centred_cosine_is_the_cosine_of_what_is_left(rng):
    mean, queries, gallery = rng.normal(size=4), rng.normal(size=(3, 4)), rng.normal(size=(5, 4))
    left, right = ((part - mean) / np.linalg.norm(part - mean, axis=1, keepdims=True) for part in (queries, gallery))
    assert np.allclose(baselines.centred_cosine(mean)(queries, gallery), left @ right.T, atol=1e-12)
    shifted = similarity.pairwise(queries + 1, gallery + 1, baselines.centred_cosine(mean + 1))
    assert np.allclose(shifted, left @ right.T, atol=1e-12)
