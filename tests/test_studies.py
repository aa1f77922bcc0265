"""Studies beside the default one: their chains are made of the same notebooks, and nothing of real people gets out."""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import typer
from markupsafe import escape
from own_data import make
from repository import ROOT
from ruamel.yaml import YAML
from test_repository import parameters, tracked

from s2f import cli
from s2f.data.corpus import Corpus
from s2f.data.sources import folder, official, paper_scale, published, published_corpus
from s2f.study import config, notebook
from s2f.study.paths import UserError

STUDIES = ROOT / "studies"
CORPORA = get_args(official.CORPORA)
CHAINS = {"template": folder.SECTIONS, "published_corpus": published_corpus.SECTIONS}
CHAINS |= dict.fromkeys(CORPORA, official.SECTIONS)
OWN = {"template": "10_folder", "published_corpus": "10_published"} | {name: f"10_{name}" for name in CORPORA}
each_study = pytest.mark.parametrize("name", CHAINS)


def stages(name: str) -> dict[str, dict]:
    text = (STUDIES / name / "dvc.yaml").read_text().replace("${data.corpus}", name)
    return YAML(typ="safe", pure=True).load(text)["stages"]


@each_study
def test_settings_are_sound(name):
    config.check(STUDIES / name / "params.yaml", CHAINS[name])


@each_study
def test_only_the_notebook_that_prepares_the_data_is_the_studys_own(name):
    """The others are the very files of the default study, so their copies in build/src are the same."""
    own = sorted((STUDIES / name / "notebooks").glob("*.ipynb"))
    assert [path.stem for path in own] == [OWN[name]]
    assert parameters(own[0]) == config.read(STUDIES / name / "params.yaml")["data"]
    assert not any(cell["outputs"] for cell in notebook.code_cells(notebook.read(own[0])))
    chain = stages(name)
    assert chain["source"]["cmd"].split()[3:6] == ["extract", "../../notebooks", "notebooks"]
    for stage in list(chain)[1:]:
        program = shlex.split(chain[stage]["cmd"])[4]
        assert program == OWN[name] or (ROOT / "notebooks" / f"{program}.ipynb").is_file()
        assert f"build/src/{program}.ipynb" in chain[stage]["deps"]


def test_the_code_that_runs_is_the_same_in_every_study(tmp_path):
    """Byte for byte, with the digests of the library code that it reaches; no study changes a notebook of another."""
    notebook.extract([ROOT / "notebooks"], tmp_path / "default")
    notebook.extract([ROOT / "notebooks", *(STUDIES / name / "notebooks" for name in CHAINS)], tmp_path / "all")
    copies = sorted((tmp_path / "default").glob("*.ipynb"))
    assert len(copies) > 20 and len(list((tmp_path / "all").glob("*.ipynb"))) == len(copies) + len(CHAINS)
    for copy in copies:
        assert (tmp_path / "all" / copy.name).read_bytes() == copy.read_bytes(), copy.name


def test_studies_of_official_corpora_share_their_chain():
    chains = {(STUDIES / name / "dvc.yaml").read_text() for name in CORPORA}
    assert len(chains) == 1
    for name in CORPORA:
        assert config.read(STUDIES / name / "params.yaml")["data"]["corpus"] == name


def commands(readme: Path) -> list[list[str]]:
    """The commands in the console blocks of a README."""
    blocks = re.findall(r"^```console\n(.*?)^```", readme.read_text(), re.M | re.S)
    return [shlex.split(line.removeprefix("$ ")) for block in blocks for line in block.splitlines() if line[:2] == "$ "]


@pytest.mark.parametrize("name", CORPORA)
def test_commands_in_the_readme_of_a_corpus_are_known(name):
    found = commands(STUDIES / name / "README.md")
    assert ["make", "env"] in found and ["cd", f"studies/{name}"] in found and ["dvc", "repro"] in found
    checks = [command for command in found if command[0] == "s2f"]
    assert checks
    for command in checks:
        parser = typer.main.get_command(cli.app).commands["data"].commands["check"]
        assert parser.make_context("check", command[3:]).params["study"] == Path(f"studies/{name}")
    assert {command[0] for command in found} == {"make", "cd", "dvc", "s2f"}


# The paper at its own size


def test_the_chain_at_the_papers_size_is_made_of_the_default_notebooks():
    config.check(STUDIES / "paper_scale" / "params.yaml", paper_scale.SECTIONS)
    chain = stages("paper_scale")
    for stage in list(chain)[1:]:
        program = shlex.split(chain[stage]["cmd"])[4]
        assert (ROOT / "notebooks" / f"{program}.ipynb").is_file()
        assert f"build/src/{program}.ipynb" in chain[stage]["deps"]
    assert chain["train"]["params"] == ["train", "scale"]


def test_its_schedule_is_the_papers_at_its_batch():
    """The rule of its README: the rate by the root of the ratio, and as many clips in all and between decays."""
    train = config.load(config.Train, STUDIES / "paper_scale" / "params.yaml")
    ratio = train.batch / 8
    assert train.rate == pytest.approx(0.001 * ratio**0.5, rel=1e-3)
    assert [train.steps * ratio, train.decay_every * ratio, train.rebalance_step * ratio] == [640_000, 10_000, 1000]
    assert (train.decay, train.beta1, train.epsilon, train.seconds) == (0.95, 0.5, 1e-4, 6.0)


def test_a_batch_that_cannot_be_cut_into_its_parts_is_refused(tmp_path):
    path = tmp_path / "params.yaml"
    text = (STUDIES / "paper_scale" / "params.yaml").read_text()
    for parts, why in (("3 ", "parts of a batch are of one size"), ("many ", "'parts' is 'many'")):
        path.write_text(text.replace("  parts: 1 ", f"  parts: {parts}"))
        with pytest.raises(UserError, match=why):
            config.check(path, paper_scale.SECTIONS)
    path.write_text(text.replace("  processes: 1 ", "  processes: 2 "))
    with pytest.raises(UserError, match="2 processes cannot divide 1 parts"):
        config.check(path, paper_scale.SECTIONS)
    assert config.load_optional(config.Scale, STUDIES / "template" / "params.yaml") is None


# Nothing private in Git


@pytest.mark.parametrize("study", ["published_corpus", *CORPORA])
def test_nothing_of_real_people_goes_into_the_cache(study):
    for name, stage in stages(study).items():
        for out in [*stage["outs"], *stage.get("metrics", [])]:
            (settings,) = out.values()
            assert settings["cache"] is False, name


@pytest.mark.parametrize("name", ["published", "published_corpus", "paper_scale", *CORPORA])
def test_what_is_made_of_real_people_has_no_remote(name):
    """Each is a DVC project of its own, so that no push of the default study reaches it; so is the largest study."""
    settings = configparser.ConfigParser()
    settings.read(STUDIES / name / ".dvc" / "config")
    assert not settings.has_option("core", "remote") and settings.sections() == ["core"]


@pytest.mark.parametrize("name", ["published_corpus", *CORPORA])
def test_of_real_people_only_tables_are_tracked(name):
    inside = [file for file in tracked() if STUDIES / name in file.parents]
    assert {file.suffix for file in inside} <= {".json", ".ipynb", ".yaml", ".lock", ".md", ""}


@pytest.mark.parametrize(
    "path", sorted((STUDIES / "published_corpus" / "results").glob("*.json")), ids=lambda p: p.stem
)
def test_results_say_nothing_of_few_people(path):
    def rows(value):
        if isinstance(value, dict):
            yield value
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from rows(item)

    text = path.read_text()
    assert not re.search(r"\bp\d{4}\b", text), "the number of a person"
    for row in rows(json.loads(text)):
        few = isinstance(row.get("n_speakers"), int) and row["n_speakers"] < 10
        assert not few or (row.get("value") is None and row.get("estimate") is None), row


@pytest.mark.skipif(not os.environ.get(published.VARIABLE), reason="S2F_PUBLISHED does not name the published samples")
def test_nobody_of_the_samples_is_named_in_the_results():
    aside = folder.SetAside()
    recordings = published_corpus.recordings(published.place(os.environ[published.VARIABLE]), aside)
    videos = {published.AVSPEECH.fullmatch(path.stem)["video"] for path in recordings["sound"]}
    words = re.compile("|".join(map(re.escape, sorted(videos))))
    for path in (STUDIES / "published_corpus" / "results").glob("*.json"):
        assert not words.search(path.read_text()), path


def test_files_of_the_samples_that_do_not_fit_are_set_aside_by_number(tmp_path):
    figures = tmp_path / "figures" / published.SETS["avspeech"]
    stems = [
        f"{video}_{start}.000000-{start + 5}.000000" for video, start in (("b" * 11, 5), ("a" * 11, 7), ("a" * 11, 1))
    ]
    for kind in (published.VOICES, *published.FACES.values()):
        (figures / kind).mkdir(parents=True)
        for stem in [*stems, "Siri_somewhere"]:
            (figures / kind / f"{stem}{'.wav' if kind == published.VOICES else '.jpg'}").touch()
    (figures / published.FACES["true"] / f"{stems[0]}.jpg").unlink()
    (figures / "stray.html").touch()
    aside = folder.SetAside()
    recordings = published_corpus.recordings(tmp_path, aside)
    assert list(recordings["speaker"]) == ["p0000", "p0000"]
    assert [row[:2] for row in aside.rows] == [("recording", "file 0"), ("recording", "file 3")]


# Your own data: the steps of the README on a toy corpus


SETTINGS = {
    "data": {"landmarks": "landmarks.csv", "seconds": 4.0},
    "face_model": {
        "feature": "small", "encoder_steps": 4, "encoder_batch": 8, "decoder_steps": 4, "decoder_batch": 8,
        "threads": 1,
    },
    "train": {
        "loss": "paper", "seconds": 1.0, "steps": 4, "batch": 4, "rebalance_step": 1, "validate_every": 2, "threads": 1,
    },
    "predict": {"durations": [1.0, 3.0], "headline_seconds": 3.0, "threads": 1},
    "evaluate": {"replicates": 50},
    "audit": {"replicates": 50, "permutations": 20, "minimum_speakers": 2},
    "retrieval": {"replicates": 50, "gallery": 10, "score_dims": 2},
    "matching": {"replicates": 50, "seen_speakers": 4},
}  # fmt: skip


def test_your_own_data_goes_through_the_chain_to_a_report(tmp_path):
    """`cp -r studies/template studies/mine`, recordings.csv, params.yaml, `dvc repro`; about a minute."""
    root, mine = tmp_path / "checkout", tmp_path / "checkout" / "studies" / "mine"
    ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "build", "scratch")
    for name in ("s2f", "notebooks", ".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, root / name, **({"ignore": ignored} if (ROOT / name).is_dir() else {}))
    shutil.copytree(STUDIES / "template", mine, ignore=ignored)
    make(mine, train=12, val=3, test=10)
    with (mine / "recordings.csv").open("a") as table:
        table.write("sounds/absent.wav,nobody,photographs/absent.png,train,F,30\n")
    yaml = YAML()
    settings = yaml.load((mine / "params.yaml").read_text())
    for section, values in SETTINGS.items():
        settings[section].update(values)
    yaml.dump(settings, mine / "params.yaml")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(root),
        "DVC_GLOBAL_CONFIG_DIR": str(tmp_path / "dvc"),
        "DVC_SITE_CACHE_DIR": str(tmp_path / "dvc"),
    }
    subprocess.run(["git", "init", "--quiet", root], check=True)
    done = subprocess.run(["dvc", "repro"], cwd=mine, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    corpus = Corpus.open(mine / "data")
    assert len(corpus.people) == 25 and len(corpus.clips) == 35 and corpus.truth is None
    assert list(corpus.rejected["kind"]) == ["photograph", "person"]
    numbers = {path.stem: json.loads(path.read_text()) for path in (mine / "results").glob("*.json")}
    assert set(numbers) == {*stages("template"), "metrics", "run"} - {"source"}
    page = (mine / "results" / "report.html").read_text()
    assert "data:image/webp" in page and str(escape(settings["report"]["title"])) in page
    assert (mine / "results" / "datasheet.md").is_file() and (mine / "results" / "model_card.md").is_file()
