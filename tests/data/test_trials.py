"""Trial lists: a function of seed and names only, whole after a round trip, and the public formats read with care."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from s2f.data import trials
from s2f.study.paths import UserError

PEOPLE = [f"p{number:02d}" for number in range(40)]
VOICES = [f"{person}/voice-{take}" for person in PEOPLE for take in (0, 1)]
FACES = [f"{person}/face-{shot}" for person in PEOPLE for shot in (0, 1, 2)]
SEX = pd.Series(["F", "M"] * 20, index=PEOPLE)


PINS = "id,voice-speaker-id,face-speaker-id,label,voice-path,face-path\n"
READERS = (trials.read_matching, trials.read_verification, trials.read_splits, trials.read_fame)
LISTS = ("a/1 a/2 b/1\n", PINS + "1,2,2,1,One/a_1.wav,One/a/1.jpg\n", "One 1\nTwo 4\n", "k1 a b\nk2 c d\n")


def drawn(probes=VOICES, items=FACES, labels=SEX, size=10, draws=3, seed=1):
    return trials.matching(probes, items, labels, size=size, draws=draws, seed=seed)


def test_a_trial_has_its_own_target_and_others_of_the_stratum_each_once():
    table = drawn()
    assert len(table) == len(VOICES) * 3
    for row in table.itertuples(index=False):
        own, *others = trials.speakers(row[1:])
        assert own == trials.speakers([row.probe])[0] and own not in others
        assert len(set(others)) == 9 and {SEX[other] for other in others} == {SEX[own]}


def test_lists_depend_on_seed_and_names_not_on_order(rng):
    shuffled = drawn(rng.permutation(VOICES), rng.permutation(FACES), SEX.sample(frac=1, random_state=3))
    pd.testing.assert_frame_equal(drawn(), shuffled)
    assert not drawn().equals(drawn(seed=2))


def test_short_trials_are_the_beginnings_of_long_ones():
    pd.testing.assert_frame_equal(drawn(size=4), drawn(size=10).iloc[:, :5])


def test_who_joins_changes_only_the_trials_that_they_enter():
    before, after = drawn(), drawn(items=[*FACES, "new/face-0"], labels=pd.concat([SEX, pd.Series({"new": "F"})]))
    entered = (after == "new/face-0").any(axis=1)
    assert 0 < entered.sum() < len(after) / 2
    pd.testing.assert_frame_equal(before[~entered], after[~entered])


def test_every_other_person_and_every_photograph_is_drawn_as_often():
    table = drawn(labels=pd.Series(0, index=PEOPLE), size=2, draws=100)
    of_person = table["other_1"].str[:3].value_counts()
    # 8,000 draws of 40 people: 200 each, standard deviation 14.
    assert len(of_person) == 40 and of_person.between(200 - 5 * 14, 200 + 5 * 14).all()
    shots = pd.concat([table["other_1"], table["target"]]).str[-1].value_counts()
    assert (shots / len(table) / 2).between(0.31, 0.36).all()
    # Two probes meet the same person in the same draw as often as chance has it, one time in 39.
    by_probe = table["other_1"].str[:3].to_numpy().reshape(80, 100)
    assert np.mean(by_probe[0] == by_probe[40:].reshape(-1, 100)) == pytest.approx(1 / 39, abs=0.01)


def test_small_strata_give_short_trials_and_lonely_or_unlabelled_people_none():
    labels = pd.Series(["a"] * 3 + ["b"] + [None] * 36, index=PEOPLE)
    table = drawn(labels=labels, draws=1)
    assert set(trials.speakers(table["probe"])) == set(PEOPLE[:3])
    assert table["other_2"].notna().all() and table["other_3"].isna().all() and list(table) == list(drawn())


def test_verification_is_half_matched():
    table = trials.verification(VOICES, FACES, SEX, draws=2, seed=1)
    assert len(table) == 4 * len(VOICES) and table["same"].mean() == 0.5
    assert (table["same"] == (table["voice_speaker"] == table["face_speaker"])).all()
    assert (SEX[table["voice_speaker"]].to_numpy() == SEX[table["face_speaker"]].to_numpy()).all()


@pytest.fixture
def written(tmp_path):
    lists = {
        "matching": drawn(labels=pd.Series(["a"] * 4 + ["b"] * 36, index=PEOPLE)),
        "verification": trials.verification(VOICES, FACES, SEX, draws=1, seed=1),
    }
    return lists, tmp_path, trials.write(lists, tmp_path)


def test_a_round_trip_keeps_all_trials(written):
    lists, folder, _ = written
    for name, read in (("matching", trials.read_matching), ("verification", trials.read_verification)):
        found, columns = read(folder / f"{name}.txt"), list(lists[name])
        assert sorted(map(str, found[columns].to_numpy().tolist())) == sorted(map(str, lists[name].to_numpy().tolist()))


def test_files_carry_their_hash_whatever_the_order_of_the_trials(written):
    lists, folder, hashes = written
    for name, row in hashes.items():
        assert row["sha256"] == hashlib.sha256((folder / f"{name}.txt").read_bytes()).hexdigest()
        assert f"{row['sha256']}  {name}.txt\n" in (folder / "SHA256SUMS").read_text()
        assert row["trials"] == len(lists[name])
    assert trials.write({name: table.iloc[::-1] for name, table in lists.items()}, folder) == hashes


def test_a_list_that_was_changed_is_refused(written):
    _, folder, _ = written
    path = folder / "matching.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(UserError, match="SHA256SUMS beside it"):
        trials.read_matching(path)


def saved(folder, text):
    path = folder / "list.txt"
    path.write_text(text)
    return path


def test_the_format_of_cmpc(tmp_path):
    text = "id1/clip/1.wav A._One/1.6/x/1.jpg Two/1.6/y/2.jpg\nid2/clip/3.wav Two/1.6/y/4.jpg Three/1.6/z/5.jpg\n"
    table = trials.read_matching(saved(tmp_path, text))
    assert list(table) == ["probe", "target", "other_1"] and table["target"][1] == "Two/1.6/y/4.jpg"
    assert list(trials.speakers(table["other_1"])) == ["Two", "Three"]


def test_the_format_of_pins_with_the_label_as_it_is_written_not_by_parity(tmp_path):
    header = "id,voice-speaker-id,face-speaker-id,label,voice-path,face-path\n"
    rows = "1,2,2,1,One/a_1.wav,One/a/1.jpg\n2,2,2,1,One/a_2.wav,One/a/2.jpg\n3,2,7,0,One/a_3.wav,Two/b/1.jpg\n"
    table = trials.read_verification(saved(tmp_path, header + rows))
    assert list(table["same"]) == [True, True, False] and list(table["face_speaker"]) == ["2", "2", "7"]
    with pytest.raises(UserError, match="line 2: speakers 2 and 2 have the label '0'"):
        trials.read_verification(saved(tmp_path, header + rows.replace("2,2,1,One/a_1", "2,2,0,One/a_1")))


def test_the_splits_of_pins(tmp_path):
    sets = trials.read_splits(saved(tmp_path, "A._One 1 \nTwo 4 \nThree 3\n"))
    assert dict(sets) == {"A._One": "train", "Two": "unseen_unheard", "Three": "seen_heard"}


def test_the_format_of_fame_and_its_scores_as_distances(tmp_path):
    text = "k1 voices/English/0.wav faces/English/0.jpg\nk2 voices/English/1.wav faces/English/1.jpg \n"
    table = trials.read_fame(saved(tmp_path, text))
    assert list(table["key"]) == ["k1", "k2"] and table["face"][1] == "faces/English/1.jpg"
    trials.write_fame(table, [-0.5, -1.25], tmp_path / "scores.txt")
    assert (tmp_path / "scores.txt").read_text() == "k1 0.500000\nk2 1.250000\n"


@pytest.mark.parametrize(
    ("read", "text", "says"),
    [
        (trials.read_matching, "a/1 a/2\n", "line 1: a probe, its target and others"),
        (trials.read_matching, "a/1 a/2 b/1\na/1 a/2 b/1 b/2\n", "line 2: a probe"),
        (trials.read_verification, "voice,face\n", "must have the columns id, voice-speaker-id"),
        (trials.read_matching, "p/1 p/2 q/1\n\nq/1 p/2 q/2\n", "line 3: the target is of p, the probe of q"),
        (
            trials.read_matching,
            "id1/a One/a Two/a\nid2/a Two/a One/a\nid1/b Two/a One/a\n",
            "line 3: .* of Two.* of One",
        ),
        (trials.read_matching, "probe a/2 b/1\n", "line 1: a probe, its target"),
        (trials.read_verification, PINS + "1,2,2,1,One/a_1.wav\n", "line 2: 5 values stand under 6 columns"),
        (trials.read_verification, PINS, "holds no trials"),
        (trials.read_splits, "One 5\n", "a set from 1 to 4"),
        (trials.read_splits, "One 1\nTwo 1\nOne 2\n", "line 3: One stands in set 1 as well"),
        (trials.read_fame, "k1 voices/0.wav\n", "line 1: a key, a voice and a face"),
        (trials.read_fame, "k1 a b\nk1 c d\n", "line 2: the key k1 stands in an earlier line"),
        *((read, text, "is empty") for read in READERS for text in ("", "\n \n# nothing\n")),
    ],
)
def test_a_file_that_is_no_such_list_is_refused_with_its_place(read, text, says, tmp_path):
    with pytest.raises(UserError, match=f"list.txt.*{says}"):
        read(saved(tmp_path, text))


@pytest.mark.parametrize(("read", "text"), list(zip(READERS, LISTS, strict=True)))
def test_mark_line_ends_blank_lines_and_comments_change_nothing(read, text, tmp_path):
    plain = read(saved(tmp_path, text))
    lines = "\r\n\r\n# a comment\r\n".join(text.splitlines())
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    assert plain.equals(read(tmp_path / "list.txt"))
    (tmp_path / "list.txt").write_bytes(text.encode("utf-16"))
    with pytest.raises(UserError, match="not text in UTF-8"):
        read(tmp_path / "list.txt")


@pytest.mark.parametrize(
    "line",
    [
        "{0}  list.txt",
        "{0} *list.txt",
        "{0}  ./list.txt",
        "{1}  list.txt",
        "\n# sums\n\n{0}  list.txt",
        "\ufeff{0}  list.txt\r",
    ],
)
def test_a_hash_is_checked_however_its_line_is_written(line, tmp_path):
    path = saved(tmp_path, LISTS[0])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name("SHA256SUMS").write_text(line.format(digest, digest.upper()) + "\n", encoding="utf-8")
    assert len(trials.read_matching(path)) == 1
    path.write_text(LISTS[0] * 2)
    with pytest.raises(UserError, match="is not the list that SHA256SUMS"):
        trials.read_matching(path)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("abc  list.txt", "SHA256SUMS, line 1: a hash of 64"),
        ("0" * 64, "line 1: a hash of 64"),
        ("0" * 64 + "  ../list.txt", "line 1: ../list.txt leads out of the folder"),
        ("0" * 64 + "  /list.txt", "leads out of the folder"),
        ("0" * 64 + "  other.txt", "line 1: there is no file other.txt"),
        ("0" * 64 + "  list.txt\n" + "1" * 64 + "  list.txt", "line 2: list.txt has another hash"),
        ("", "list.txt does not stand in the SHA256SUMS"),
    ],
)
def test_a_list_of_hashes_that_cannot_be_checked_is_refused(line, says, tmp_path):
    path = saved(tmp_path, LISTS[0])
    path.with_name("SHA256SUMS").write_text(line)
    with pytest.raises(UserError, match=says):
        trials.read_matching(path)


@pytest.mark.parametrize(
    ("scores", "says"), [([0.5, np.nan], "row k2 holds nan"), ([-np.inf, 1.0], "row k1"), ([1.0], "1 scores of 2")]
)
def test_scores_that_are_none_are_never_written(scores, says, tmp_path):
    table = trials.read_fame(saved(tmp_path, "k1 a b\nk2 c d\n"))
    (tmp_path / "scores.txt").write_text("earlier")
    with pytest.raises(UserError, match=says):
        trials.write_fame(table, scores, tmp_path / "scores.txt")
    assert (tmp_path / "scores.txt").read_text() == "earlier"


def test_nothing_is_written_when_one_of_the_lists_cannot_be(tmp_path):
    good = drawn(draws=1)
    bad = good.replace(FACES[0], "p00/face 0")
    with pytest.raises(UserError, match="'p00/face 0' has no speaker"):
        trials.write({"good": good, "bad": bad}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_bad_requests_say_what_to_do(tmp_path):
    with pytest.raises(UserError, match="name it speaker/item"):
        drawn(["p00 voice"])
    with pytest.raises(UserError, match="p39 has a probe but no candidate"):
        drawn(items=FACES[:-3])
    with pytest.raises(UserError, match="p39 has no label"):
        drawn(labels=SEX.drop("p39"))
    with pytest.raises(UserError, match="no trial list"):
        trials.read_fame(tmp_path / "nothing.txt")


@pytest.mark.skipif("S2F_LISTS" not in os.environ, reason="S2F_LISTS names no folder with the published trial lists")
def test_the_published_lists_are_read_whole():
    root = Path(os.environ["S2F_LISTS"])
    counts = {"random": 30_496, "GNA": 27_280}
    sets = trials.read_splits(root / "identity_splits.txt")
    assert list(sets.value_counts()[["train", "unseen_unheard"]]) == [901, 250]
    for stratum, count in counts.items():
        table = trials.read_verification(root / f"veriflist_test_{stratum}_unseenunheard.txt")
        assert len(table) == count and abs(table["same"].mean() - 0.5) < 0.001
        assert set(sets[trials.speakers(table["voice"])]) == {"unseen_unheard"}
    for name, count in (("v2f_GN", 9_120), ("f2v_U", 10_000)):
        table = trials.read_matching(root / f"matching_{name}.csv")
        assert len(table) == count and list(table) == ["probe", "target", "other_1"]
