"""The training of a study again from another seed, with the notebooks after it: what another training would have found.

Each training has a folder in `scratch/trainings`, which is a study of its own with the data of the first, and a process
of its own, on one thread: two threads of one process wait for one another, two processes do not. What is asked of it
are numbers, so intervals may rest on few replicates there, and no figure is written.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from ruamel.yaml import YAML
from tqdm.auto import tqdm

from s2f.study import config, notebook, surroundings
from s2f.study.paths import NUMBERS_ONLY, STAGE, Study, UserError, md5

# Sections whose seed is another one, by the notebook that trains with it, and what that notebook makes.
SEEDED = {
    "20_face_model": ("face_model", ("models/face.safetensors", "features/photos.npy")),
    "30_train": ("train", ("models/voice.safetensors", "models/facts.json")),
}
POLL_SECONDS = 1.0


def repeat(study: Study, seeds: Sequence[int], names: Sequence[str], replicates: int) -> dict[int, Study]:
    """Run notebooks of a study once more for each seed, as many trainings at a time as there are processor cores.

    A notebook that is finished is not run again while its code, the settings and the data stay the same; a training
    that was interrupted goes on from its last checkpoint.

    Args:
        study: whose data, settings and notebooks (`build/src`) are taken; it stays as it is.
        seeds: of the trainings, a repetition each.
        names: the notebooks, in order. Those of `SEEDED` get the seed.
        replicates: of intervals and permutations, at most.

    Returns:
        By seed the study in which the notebooks ran; what they measured is in its results.

    Raises:
        UserError: where a notebook is not there.
        CellError: where one fails; it names the file with what was printed.
    """
    folders = {seed: _prepared(study, seed, names, replicates) for seed in seeds}
    done = [_mark(folder, names, name) for folder in folders.values() for name in names]
    with (
        tqdm(total=len(done), desc="trainings", unit="notebook") as bar,
        TemporaryDirectory(dir=surroundings.short_folder()) as private,
        ThreadPoolExecutor(max_workers=min(len(seeds), os.cpu_count() or 1)) as pool,
    ):
        running: list[subprocess.Popen] = []
        environment = surroundings.environment(os.environ, Path(private), study.scratch / "caches", threads=1)
        waiting = [pool.submit(_run, folder, names, environment, running) for folder in folders.values()]
        try:
            while not all(each.done() for each in waiting):
                time.sleep(POLL_SECONDS)
                bar.update(sum(mark.exists() for mark in done) - bar.n)
                for each in waiting:
                    if each.done():
                        each.result()
        except BaseException:
            for each in waiting:
                each.cancel()
            for process in running:
                process.send_signal(signal.SIGINT)  # a training writes its checkpoint
            raise
        for each in waiting:
            each.result()
        bar.update(len(done) - bar.n)
    return {seed: Study(folder) for seed, folder in folders.items()}


def _prepared(study: Study, seed: int, names: Sequence[str], replicates: int) -> Path:
    """The folder of a training, with its settings, and links to all that the listed notebooks do not make."""
    sources = {name: study.build / "src" / f"{name}.ipynb" for name in names}
    if missing := [name for name, path in sources.items() if not path.is_file()]:
        raise UserError(f"There is no notebook {missing[0]} in {study.build / 'src'}: mend trainings.notebooks.")
    settings = config.read(study.params)
    settings.pop(config.Trainings.section, None)  # a repetition is not repeated
    for section in settings.values():
        few = {name: min(section[name], replicates) for name in ("replicates", "permutations") if name in section}
        section |= few | {name: 1 for name in ("threads", "workers") if name in section}
    made = []
    for name in filter(SEEDED.get, names):
        section, files = SEEDED[name]
        settings[section]["seed"] = seed
        made += files
    given = [file for _, files in SEEDED.values() for file in files if file not in made]
    content = [json.dumps(settings, sort_keys=True)]
    content += [md5(study.root / file) for file in ("data/manifest.parquet", *given)]
    folder = study.scratch / "trainings" / f"{seed}-{_digest(content)}"
    for path, name in ((study.data, "data"), *((study.root / file, file) for file in given)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(path.resolve())
    # Written afresh each time, so it does not matter if half of it is there after an interruption.
    (folder / "build" / "src").mkdir(parents=True, exist_ok=True)
    for name, path in sources.items():
        (folder / "build" / "src" / f"{name}.ipynb").write_bytes(path.read_bytes())
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(settings, file)
    (folder / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")  # what makes a folder a study
    return folder


def _digest(content: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]


def _mark(folder: Path, names: Sequence[str], name: str) -> Path:
    """The file that says that a notebook is finished: it and those before it, with the code that they have now."""
    code = [md5(folder / "build" / "src" / f"{each}.ipynb") for each in names[: names.index(name) + 1]]
    return folder / f".{name}-{_digest(code)}"


def _run(folder: Path, names: Sequence[str], environment: dict, running: list[subprocess.Popen]) -> None:
    """Run the notebooks of one training in a process, and wait for it."""
    log = folder / "log.txt"
    with log.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(folder), *names],
            cwd=folder,
            env=environment | {STAGE: str(folder.resolve()), "MPLBACKEND": "agg", NUMBERS_ONLY: "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        running.append(process)
        if process.wait() != 0:
            last = (log.read_text(encoding="utf-8", errors="replace").splitlines() or [""])[-1]
            raise notebook.CellError(f"A further training failed: {last}; see {log}.")


def _execute(name: str) -> None:
    """Run the code of a notebook in this process. The parameters cell is left out: settings come from params.yaml."""
    namespace = {"__name__": name}
    for index, cell in enumerate(notebook.code_cells(notebook.read(Path("build/src") / f"{name}.ipynb"))):
        if not notebook.is_parameters(cell):
            exec(compile(notebook.source(cell), f"{name}, cell {index}", "exec"), namespace)


def main(folder: str, *names: str) -> None:
    """What `repeat` starts: the notebooks of one training, in the folder of that training."""
    import matplotlib.pyplot as plt

    for name in names:
        mark = _mark(Path(folder), names, name)
        if not mark.exists():
            start = time.monotonic()
            _execute(name)
            plt.close("all")
            print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
            mark.touch()


if __name__ == "__main__":
    main(*sys.argv[1:])
