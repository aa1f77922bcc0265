"""The commands: `s2f face` draws the face that goes with a recording, `s2f run` tries a notebook with other settings,
`s2f compare` says whether a run reproduced another, `s2f check` what is here, `s2f data check` what a corpus lacks.

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

from s2f.study import pages, paths, provenance, surroundings
from s2f.study.paths import Study, UserError

MOST_SAMPLES = 99
MOST_EXAGGERATED = 10  # as in the settings of a study

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
data = typer.Typer(no_args_is_help=True)
app.add_typer(data, name="data", help="The corpus of a study.")


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


Recording = Annotated[Path, typer.Argument(metavar="REC.wav", help="One voice, 6 s or more.")]
StudyFolder = Annotated[Path | None, typer.Option("--study", help="Whose models; default: of the working folder.")]
Models = Annotated[Path | None, typer.Option(help="Folder of models; default: the study's.")]
# A recording may be called -1nRm.wav, as YouTube's are.
AS_A_NAME = {"ignore_unknown_options": True}


@app.command(context_settings=AS_A_NAME)
def face(
    recording: Recording,
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture to write, a .png file.")],
    study: StudyFolder = None,
    models: Models = None,
    samples: Annotated[int, typer.Option(help="So many faces that go as well with the voice, on one sheet.")] = 0,
    exaggeration: Annotated[
        float | None, typer.Option(help="0: as drawn; above: further from the mean; default: the model's own.")
    ] = None,
) -> None:
    """Draw the average face that goes with the voice in REC.wav."""
    with refusing():
        check_place(out, ".png")
        if exaggeration is not None and not 0 <= exaggeration <= MOST_EXAGGERATED:
            raise UserError(f"--exaggeration {exaggeration} is not between 0 and {MOST_EXAGGERATED}.")
        if not 0 <= samples <= MOST_SAMPLES:
            raise UserError(f"--samples {samples} is not between 0 and {MOST_SAMPLES}.")
        folder = models_of(study, models)

        from s2f.models.speech2face import LONGEST_SECONDS, Speech2Face
        from s2f.signal import images, speech

        system = Speech2Face.load(folder)
        spoken = speech.read(recording, LONGEST_SECONDS)
        drawn = system.face(spoken, exaggeration)
        picture = images.sheet([drawn.image, *system.samples(spoken, samples)]) if samples else drawn.image
        right = reliability(system.card, folder.parent / "results")
        shown = f"First the average face, then {samples} faces that go with the voice as well." if samples else ""
        with writing(out):
            images.save_png(picture, out, Description=system.card.caveat, Software=f"s2f {metadata.version('s2f')}")
        lines = [str(out), shown, system.card.caveat, right, drawn.traits, drawn.uncertainty]
        typer.echo(paths.printable("\n".join(line for line in lines if line)))


@app.command(context_settings=AS_A_NAME)
def avatar(
    recording: Recording,
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture to write, an .svg or .png file.")],
    study: StudyFolder = None,
    models: Models = None,
) -> None:
    """Draw an avatar with average traits of people who sound like REC.wav, for a call without a camera."""
    with refusing():
        check_place(out, ".svg", ".png")
        folder = models_of(study, models)

        surroundings.without_uri_grammar()  # DiceBear checks its options with jsonschema
        from s2f.models import avatar
        from s2f.models.speech2face import LONGEST_SECONDS, Speech2Face
        from s2f.signal import images, speech

        system = Speech2Face.load(folder)
        drawn = system.face(speech.read(recording, LONGEST_SECONDS))
        chosen, rests = avatar.of(drawn, folder)
        caveat, credit = system.card.caveat.replace("an average face", "an avatar"), avatar.credit()
        with writing(out):
            if out.suffix.lower() == ".svg":
                with paths.replacing(out) as temporary:
                    temporary.write_text(avatar.described(avatar.svg(chosen), caveat), encoding="utf-8")
            else:
                texts = {"Description": caveat, "Copyright": credit, "Software": f"s2f {metadata.version('s2f')}"}
                images.save_png(avatar.picture(chosen), out, **texts)
        options = ", ".join(f"{name} {choice}" for name, choice in chosen.items())
        lines = [str(out), caveat, f"{options}. {rests}", drawn.traits, drawn.uncertainty, credit]
        typer.echo(paths.printable("\n".join(line for line in lines if line)))


def check_place(out: Path, *endings: str) -> None:
    """UserError if no file with one of these endings can be written there."""
    if out.suffix.lower() not in endings:
        wanted = " or ".join(endings)
        raise UserError(f"{out} does not end in {wanted}: name a {wanted[1:].upper().replace('.', '')} file.")
    if len(os.fsencode(out.name)) > 200:
        raise UserError(f"The name {out.name[:40]}... is too long: name a shorter file.")
    if out.is_dir():
        raise UserError(f"{out} is a folder: name a file.")
    if not out.parent.is_dir():
        raise UserError(f"The folder {out.parent} does not exist: make it first.")
    if not os.access(out.parent, os.W_OK):
        raise UserError(f"The folder {out.parent} cannot be written: name a file in another.")


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """What the system refuses to write, as on a full disk, is a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}): name another place.") from None


def models_of(study: Path | None, models: Path | None) -> Path:
    """The folder of models that was named, of a study that was named, or of the study of the working folder."""
    if study is not None and models is not None:
        raise UserError("Both --study and --models name models: give one of them.")
    return paths.study(study).models if models is None else models


def reliability(card, results: Path) -> str:
    """How often such a face leads to the right speaker, as the model's card says, or the results of its study."""
    if card.right is not None:
        right = {key: f"{card.right[key]:.0%}" for key in ("value", "low", "high", "chance")}
        among, size = f"{card.right['among']:.0f}", f"{card.right['size']:.0f}"
        return _found("On people from whom it had not learned, by the predicted feature,", among, size, **right)
    file = results / "retrieval.json"
    if not file.is_file():
        return f"How often such faces are right is not measured here: there is no {file}."
    try:
        measured = json.loads(file.read_text(encoding="utf-8"))
        size = measured["gallery"]["size"]
        recall = measured[f"recall_at_10_of_{size}"]
        right = {name: f"{recall[name]:.0%}" for name in ("value", "low", "high", "chance")}
    except (OSError, ValueError, KeyError, TypeError):
        return f"How often such faces are right is not known: {file} is not what 60_retrieval writes; run `dvc repro`."
    return _found("On test recordings", 10, size, **right)


def _found(where, among, size, value, low, high, chance):
    return (
        f"{where} the speaker's true face ranks among the first {among} of {size} in {value} of cases "
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
def compare(
    reference: Annotated[str, typer.Argument(help="A commit, or a folder of results.")] = "HEAD",
    study: Annotated[Path | None, typer.Option(help="Its folder; default: the study of the working folder.")] = None,
) -> None:
    """Say whether the numbers of a study reproduce a reference, by default those in Git; exit code 1 if they do not."""
    with refusing():
        here = paths.study(study)

        from s2f.report import compare as comparing

        found = comparing.with_reference(here, reference)
    typer.echo("\n".join([found.verdict, *found.reasons, "", *found.details]))
    if not found.reproduced:
        raise typer.Exit(1)


@data.command("check")
def check_data(
    study: Annotated[Path | None, typer.Argument(help="Its folder; default: the study of the working folder.")] = None,
    opening: Annotated[
        bool, typer.Option("--open", "--deep", help="Decode every sound and picture, which takes minutes to hours.")
    ] = False,
) -> None:
    """Say what is there of a study's corpus, what is missing and what is broken; exit code 1 if anything is."""
    with refusing():
        here = paths.study(study)

        from s2f.data import checksums
        from s2f.data.sources import check as checking

        report = checking.check(here, opening)
        listed = here.scratch / "check" / "findings.csv"
        with writing(listed), paths.replacing(listed) as temporary:
            report.findings.to_csv(temporary, index=False, encoding="utf-8")
    typer.echo(paths.printable("\n".join([*report.lines(), f"list      {listed}"])))
    if opening and (here.data / checksums.SUMS).is_file():
        with refusing():
            typer.echo(f"prepared  {checksums.verify(here.data):,} files in {here.data}, each as it was written")
    if not report.whole:
        raise typer.Exit(1)


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
    for line in models_here(here):
        typer.echo(f"models    {line}")
    chain = "make repro" if (here.root / "Makefile").is_file() else "dvc repro"
    if strange or "make env" in problems:
        following = "make env"
    else:
        following = "s2f face REC.wav -o face.png" if set(origins.values()) == {"made here"} else chain
    typer.echo(f"next      {following}")


def models_here(study: Study) -> list[str]:
    """Of each study in this folder that has models: what these were learned from, and how `s2f face` takes them."""
    from s2f.models.speech2face import CARD, Card

    lines = []
    for root in (study.root, *sorted(study.root.glob("studies/*"))):
        if (root / "models" / CARD).is_file():
            place = root.relative_to(study.root)
            how = "s2f face takes these" if root == study.root else f"s2f face --study {place} takes these"
            try:
                lines.append(f"{place / 'models'}: learned from {Card.load(root / 'models').learned_from} ({how})")
            except UserError as error:
                lines.append(str(error))
    return lines or ["none yet that s2f face could take"]


def foreign(root: Path) -> str:
    """A remark if the checkout around `root` has a library of its own, but another one runs; otherwise nothing."""
    own = next((path / "s2f" for path in (root, *root.parents) if (path / "s2f" / "__init__.py").is_file()), None)
    if own is None or own.samefile(provenance.library()):
        return ""
    return f", not that of this checkout, {own}"


def milestones(study: Study) -> tuple[Path, ...]:
    """The files that show how far the study has come."""
    from s2f.models.speech2face import CARD

    models = (study.models / name for name in ("voice.safetensors", "face.safetensors", CARD))
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
