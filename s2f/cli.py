"""The commands: `s2f face` draws the face that goes with a recording, `s2f run` tries a notebook with other settings,
`s2f check` says what is here.

torch and the models take seconds to import, so each command imports them when it runs.
"""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from packaging.requirements import Requirement
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from s2f.study import pages, paths, provenance
from s2f.study.paths import Study, UserError

CAVEAT = (
    "This is an average face with traits that go with such voices, learned from a synthetic world. "
    "It is not this person: never use it to identify anybody."
)

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@contextmanager
def refusing() -> Iterator[None]:
    """Bad input ends the command with one sentence and exit code 2; any other error keeps its traceback."""
    try:
        yield
    except UserError as error:
        typer.echo(paths.printable(f"s2f: {error}"), err=True)
        raise typer.Exit(2) from None


def print_version(wanted: bool) -> bool:
    """Say which s2f this is, and end."""
    if wanted:
        typer.echo(f"s2f {metadata.version('s2f')}")
        raise typer.Exit
    return wanted


@app.callback()
def main(
    version: Annotated[bool, typer.Option(callback=print_version, is_eager=True, help="Say which s2f.")] = False,
) -> None:
    """Average faces that go with voices, and the study that measures how far they can be trusted."""


# A recording may be called -1nRm.wav, as YouTube's are.
@app.command(context_settings={"ignore_unknown_options": True})
def face(
    recording: Annotated[Path, typer.Argument(metavar="REC.wav", help="One voice, 6 s or more.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture to write, a .png file.")],
    models: Annotated[Path | None, typer.Option(help="Folder of models; default: this study's.")] = None,
    exaggeration: Annotated[float, typer.Option(help="0: as drawn; above: further from the mean.")] = 0.0,
) -> None:
    """Draw the average face that goes with the voice in REC.wav."""
    with refusing():
        if out.suffix.lower() != ".png":
            raise UserError(f"{out} does not end in .png: name a PNG file.")
        if len(os.fsencode(out.name)) > 200:
            raise UserError(f"The name {out.name[:40]}... is too long: name a shorter file.")
        if out.is_dir():
            raise UserError(f"{out} is a folder: name a file.")
        if not out.parent.is_dir():
            raise UserError(f"The folder {out.parent} does not exist: make it first.")
        if not os.access(out.parent, os.W_OK):
            raise UserError(f"The folder {out.parent} cannot be written: name a file in another.")
        if not 0 <= exaggeration <= 5:
            raise UserError(f"--exaggeration {exaggeration} is not between 0 and 5.")
        folder = paths.study().models if models is None else models

        from s2f.models import inference
        from s2f.signal import images, speech

        spoken = speech.read(recording, inference.LONGEST_SECONDS)
        drawn = inference.Speech2Face.load(folder).face(spoken, exaggeration)
        right = reliability(folder.parent / "results")
        try:
            images.save_png(drawn.image, out, Description=CAVEAT, Software=f"s2f {metadata.version('s2f')}")
        except OSError as error:
            raise UserError(f"{out} cannot be written ({error.strerror}): name another place.") from None
        typer.echo(paths.printable(f"{out}\n{CAVEAT}\n{right}\n{drawn.uncertainty}"))


def reliability(results: Path) -> str:
    """How often such a face leads to the right speaker, from what the study measured."""
    file = results / "retrieval.json"
    if not file.is_file():
        return f"How often such faces are right is not measured here: there is no {file}."
    try:
        measured = json.loads(file.read_text(encoding="utf-8"))
        size = measured["gallery"]["size"]
        recall = measured[f"recall_at_10_of_{size}"]
        value, low, high, chance = (f"{recall[name]:.0%}" for name in ("value", "low", "high", "chance"))
    except (OSError, ValueError, KeyError, TypeError):
        return f"How often such faces are right is not known: {file} is not what 60_retrieval writes; run `dvc repro`."
    return (
        f"On test recordings the speaker's true face ranks among the first 10 of {size} in {value} of cases "
        f"(95 % interval {low} to {high}; by chance {chance})."
    )


@app.command()
def run(
    notebook: Annotated[str, typer.Argument(help="Such as 60_retrieval, or the path of a notebook.")],
    study: Annotated[Path | None, typer.Option(help="Its folder; default: the study of the working folder.")] = None,
    parameters: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="In place of params.yaml's.")
    ] = None,
) -> None:
    """Run a notebook with the settings of a study, or others; the files of the study stay as they are."""
    from s2f.study import notebook as notebooks

    logging.basicConfig(level=logging.INFO, format="%(message)s")  # what the cells print
    with refusing():
        here = paths.study(study)
        try:
            executed = notebooks.explore(notebook, dict(map(_parameter, parameters or [])), here.root)
        except notebooks.CellError as error:
            typer.echo(error, err=True)
            raise typer.Exit(1) from None
    typer.echo(f"{executed}\n{executed.with_suffix('.html')}\nWhat it wrote lies in {here.exploration.root}.")


def _parameter(given: str) -> tuple[str, Any]:
    """The name and the value, as YAML, in `gallery=50` or `durations=[3.0, 6.0]`."""
    name, equals, value = given.partition("=")
    try:
        if name.strip() and equals:
            return name.strip(), YAML(typ="safe", pure=True).load(value)
    except YAMLError:
        pass
    raise UserError(f"-p {given!r} is not NAME=VALUE with a value as in params.yaml: mend it.")


@app.command()
def check() -> None:
    """Say what is installed, what was made here or came with the checkout, and what to do next."""
    problems = packages()
    typer.echo(f"packages  {problems}")
    typer.echo(f"device    {device()}")
    try:
        here = paths.study()
    except UserError as error:
        typer.echo(f"code      {provenance.library()}\nstudy     {error}")
        return
    strange = foreign(here.root)
    typer.echo(f"code      {provenance.library()}{strange}")
    typer.echo(f"study     {here.root}")
    origins = {file: origin(here, file) for file in milestones(here)}
    for file, word in origins.items():
        typer.echo(f"{word:<9} {file.relative_to(here.root)}")
    chain = "make repro" if (here.root / "Makefile").is_file() else "dvc repro"
    if strange or "make env" in problems:
        following = "make env"
    else:
        following = "s2f face REC.wav -o face.png" if set(origins.values()) == {"made here"} else chain
    typer.echo(f"next      {following}")


def foreign(root: Path) -> str:
    """A remark if the checkout around `root` has a library of its own, but another one runs; otherwise nothing."""
    own = next((path / "s2f" for path in (root, *root.parents) if (path / "s2f" / "__init__.py").is_file()), None)
    if own is None or own.samefile(provenance.library()):
        return ""
    return f", not that of this checkout, {own}"


def milestones(study: Study) -> tuple[Path, ...]:
    """The files that show how far the study has come."""
    from s2f.models.inference import STAGES

    models = (study.models / name for name in STAGES)
    return study.data / "manifest.parquet", *models, study.results / "report.json"


def origin(study: Study, file: Path) -> str:
    """Whether a milestone is `missing`, was `made here`, or came with the `checkout`."""
    if not file.exists():
        return "missing"
    # Data and models are in no checkout. The numbers are: they are the committed ones as long as the notebook that
    # writes them was not executed here and Git sees no change.
    executed = study.build / "run" / f"{pages.REPORT}.ipynb"
    return "made here" if file.parent != study.results or executed.exists() or provenance.differs(file) else "checkout"


def packages() -> str:
    """The packages that are not installed as pyproject.toml asks, or a word that all are."""
    problems = []
    for requirement in map(Requirement, metadata.requires("s2f")):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue  # of an extra
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            problems.append(f"{requirement.name} is missing")
            continue
        if version not in requirement.specifier:
            problems.append(f"{requirement.name} {version} is not {requirement.specifier}")
    if problems:
        return f"{'; '.join(problems)}: run make env"
    return f"as s2f {metadata.version('s2f')} asks"


def device() -> str:
    """Where the models run, and in which precision they train."""
    from s2f.models.inference import available_device
    from s2f.study.precision import fast_dtype

    fast = str(fast_dtype(available_device())).removeprefix("torch.")
    return f"{provenance.machine()}: training with `precision: auto` is in {fast}"
