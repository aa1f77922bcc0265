"""The commands: `s2f face` draws the face that goes with a recording, `s2f check` says what is here.

torch and the models take seconds to import, so each command imports them when it runs.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from packaging.requirements import Requirement

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
        typer.echo(f"s2f: {error}", err=True)
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


@app.command()
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
        if not out.parent.is_dir():
            raise UserError(f"The folder {out.parent} does not exist: make it first.")
        if not 0 <= exaggeration <= 5:
            raise UserError(f"--exaggeration {exaggeration} is not between 0 and 5.")
        folder = paths.study().models if models is None else models

        from s2f.models import inference
        from s2f.signal import audio, images

        wave = inference.read_recording(recording)
        drawn = inference.Speech2Face.load(folder).face(wave, exaggeration)
        images.save_png(drawn.image, out, Description=CAVEAT, Software=f"s2f {metadata.version('s2f')}")

        typer.echo(f"{out}\n{CAVEAT}\n{reliability(folder.parent / 'results')}")
        seconds = len(wave) / audio.SAMPLE_RATE
        if seconds > inference.SEGMENT_SECONDS:
            typer.echo(drawn.spread)
        else:  # no parts to compare, and the spread would be a reassuring zero
            typer.echo(f"Warning: {seconds:.1f} s of voice say little of a face: give 6 s.", err=True)


def reliability(results: Path) -> str:
    """How often such a face leads to the right speaker, from what the study measured."""
    file = results / "retrieval.json"
    if not file.is_file():
        return f"How often such faces are right is not measured here: there is no {file}."
    recall = json.loads(file.read_text())["recall_at_10_of_100"]
    return (
        "On test recordings the speaker's true face ranks among the first 10 of 100 in "
        f"{recall['value']:.0%} of cases (95 % interval {recall['low']:.0%} to {recall['high']:.0%}; "
        f"by chance {recall['chance']:.0%})."
    )


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
