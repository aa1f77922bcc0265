"""Run the notebooks as stages: `python -m s2f.study.notebook extract|run|index`.

    notebooks/30_train.ipynb --extract--> build/src/30_train.ipynb --run--> build/run/30_train.{ipynb,html}

A stage depends on the code-only copy, so that saving prose or outputs in JupyterLab never repeats a training. The copy
also holds the digests of the library code that the notebook reaches: nothing else makes a stage run again.
Heavy imports are local: a wrong parameter must be refused at once, and every stage pays for the rest.
"""

import argparse
import ast
import errno
import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from s2f.study import code, config, pages, surroundings
from s2f.study.paths import STAGE, Study, UserError, enough_room, replacing, study

CLEANUP_SECONDS = 30  # what an interrupted cell gets to write its checkpoint before it is killed
# Imports make a million objects that stay; looking through them at Python's rate takes a seventh of the imports' time.
FEWER_COLLECTIONS = "__import__('gc').set_threshold(50_000)"
NO_ROOM = 65_536  # bytes; with less on the disk, that is why a cell failed
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}


class CellError(Exception):
    """A cell failed: one sentence that names the notebook, the cell and the error."""


# ---- extract: the code of a notebook, and nothing else


def read(path: Path) -> dict:
    """A notebook as plain JSON. UserError if the file is missing or is no version 4 notebook."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no notebook {path}; run `python -m s2f.study.notebook extract` first.") from None
    except ValueError as error:
        raise UserError(f"{path} is not a notebook: it is not valid JSON ({error}); restore it from Git.") from None
    if not isinstance(notebook, dict) or notebook.get("nbformat") != 4 or "cells" not in notebook:
        raise UserError(f"{path} is not a version 4 notebook; open it in JupyterLab and save it again.")
    return notebook


def code_cells(notebook: dict) -> list[dict]:
    """The code cells in order, without the blank ones that JupyterLab leaves at the end."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and source(cell).strip()]


def source(cell: dict) -> str:
    """The text of a cell; the format allows a string or a list of lines."""
    return "".join(cell["source"])


def code_only(notebook: dict, library: code.Library) -> dict:
    """The normalised copy: code cells with ids c0, c1, ..., the `parameters` tag, kernel `python3`.

    Its metadata have the digest of what the code reaches in each file of the library.
    """
    cells = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"c{index}",
            "metadata": {"tags": ["parameters"]} if is_parameters(cell) else {},
            "outputs": [],
            "source": source(cell).splitlines(keepends=True),
        }
        for index, cell in enumerate(code_cells(notebook))
    ]
    reached = library.reached("\n".join(map(source, cells)))
    metadata = {"kernelspec": KERNELSPEC, "library": reached}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def is_parameters(cell: dict) -> bool:
    return "parameters" in cell["metadata"].get("tags", [])


def extract(folders: list[Path], target: Path) -> dict[str, list[str]]:
    """Write the code-only copy of each notebook; of two with one name, that of the later folder.

    Touches and removes only what changed. Returns the notebooks that changed, each with what did: files of the library,
    "its own code".
    """
    notebooks = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"There is no folder {folder} of notebooks; run this in the folder of the study.")
        notebooks |= {path.name: path for path in folder.glob("*.ipynb")}
    library = code.Library()
    copies = {name: code_only(read(notebooks[name]), library) for name in sorted(notebooks)}
    target.mkdir(parents=True, exist_ok=True)
    touched = {}
    for path in sorted(target.glob("*.ipynb")):
        if path.name not in copies:
            path.unlink()
            touched[path.stem] = ["gone"]
    for name, copy in copies.items():
        path = target / name
        text = json.dumps(copy, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        before = path.read_text(encoding="utf-8") if path.exists() else None
        if before != text:
            touched[path.stem] = _changes(before, copy)
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
    return touched


def _changes(before: str | None, after: dict) -> list[str]:
    """What changed since an earlier copy of a notebook."""
    try:
        earlier = json.loads(before or "")
        old, new = earlier["metadata"]["library"], after["metadata"]["library"]
    except (ValueError, KeyError):
        return ["new"]
    files = [file for file in sorted({*old, *new}) if old.get(file) != new.get(file)]
    own = ["its own code"] if earlier["cells"] != after["cells"] else []
    return files + own or ["its form"]


# ---- parameters


def load_section(path: Path, section: str) -> dict:
    """One section of params.yaml, such as `train`, or a nested one such as `runs.no_batch_norm`."""
    values = config.read(path)
    for key in section.split("."):
        if not isinstance(values, dict) or key not in values:
            raise UserError(f"{path} has no section {section!r}; add it or name another with --params.")
        values = values[key]
    if not isinstance(values, dict):
        raise UserError(f"{path}: {section!r} is a value, not a section of parameters; name its section.")
    return values


def declared_parameters(notebook: dict, name: str) -> set[str]:
    """The names that the `parameters` cell assigns, one a line, because papermill reads it by line."""
    names = set()
    for cell in filter(is_parameters, code_cells(notebook)):
        lines = [statement.lineno for statement in ast.parse(source(cell)).body]
        for statement in ast.parse(source(cell)).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=target)], lineno=first, end_lineno=last) if (
                    first == last and lines.count(first) == 1
                ):
                    names.add(target)
                case _:
                    raise UserError(
                        f"{name}: line {statement.lineno} of the parameters cell is not one plain "
                        "assignment; write `name = value` on a line of its own."
                    )
    return names


def check_parameters(declared: set[str], given: set[str], name: str, section: str) -> None:
    """UserError unless the section of params.yaml sets exactly the parameters of the notebook."""
    unknown, missing = sorted(given - declared), sorted(declared - given)
    if unknown:
        raise UserError(
            f"params.yaml sets {', '.join(unknown)} in {section!r}, which notebook {name} does not know; "
            f"it has {', '.join(sorted(declared)) or 'no parameters'}."
        )
    if missing:
        raise UserError(f"params.yaml lacks {', '.join(missing)} in {section!r}, which notebook {name} needs.")


# ---- run


def run(name: str, section: str | None, root: Path) -> None:
    """Execute build/src/NAME.ipynb in the study `root` with one section of its params.yaml.

    Writes build/run/NAME.ipynb and .html (NAME-KEY for a nested section such as `runs.KEY`) and the index of all
    pages, also when a cell fails: CellError then, or UserError if it is one that the cell raised.
    """
    copy = read(root / "build" / "src" / f"{name}.ipynb")
    values = load_section(root / "params.yaml", section) if section else {}
    check_parameters(declared_parameters(copy, name), set(values), name, section or "")
    stem = "-".join([name, *(section or "").split(".")[1:]])
    executed = root / "build" / "run" / f"{stem}.ipynb"
    executed.parent.mkdir(parents=True, exist_ok=True)
    executed.unlink(missing_ok=True)  # what an earlier run left must not pass for this one
    full = _with_prose(name, copy, root)
    with enough_room():
        try:
            execute(root / "build" / "src" / f"{name}.ipynb", executed, values, root, stage=True)
        finally:
            if executed.exists():
                pages.write_page(weave(full, read(executed)), executed.with_suffix(".html"), name, root)
                pages.write_index(root)


def explore(name: str, values: dict, root: Path) -> Path:
    """Execute a notebook with the settings of the study `root`, but for some values, and leave its files as they are.

    Args:
        name: such as 60_retrieval, in the nearest `notebooks/` at or above the study; or the path of a notebook.
        values: by parameter; the others are those of the study's params.yaml.
        root: the folder of the study.

    Returns:
        The executed notebook, in the study's place for exploring; its page, .html, lies beside it.

    Raises:
        UserError: for a notebook or a parameter that is not there, and for a value that is impossible.
        CellError: for a cell that failed; the executed notebook and its page are there all the same.
    """
    path = _find(name, root)
    notebook = read(path)
    declared = declared_parameters(notebook, path.stem)
    if unknown := sorted(set(values) - declared):
        known = ", ".join(sorted(declared)) or "none"
        raise UserError(f"{path.stem} has no parameter {unknown[0]!r}; its parameters: {known}.")
    place = Study(root).exploration
    executed = place.build / "run" / f"{path.stem}.ipynb"
    executed.parent.mkdir(parents=True, exist_ok=True)
    executed.unlink(missing_ok=True)
    try:
        execute(path, executed, values, root)
    finally:
        if executed.exists():
            pages.write_page(read(executed), executed.with_suffix(".html"), path.stem, place.root)
    return executed


def _find(name: str, root: Path) -> Path:
    if (path := Path(name)).is_file():
        return path.resolve()
    folders = [folder / "notebooks" for folder in (root, *root.parents) if (folder / "notebooks").is_dir()]
    for folder in folders:
        if (path := folder / f"{name}.ipynb").is_file():
            return path
    known = sorted({path.stem for folder in folders for path in folder.glob("*.ipynb")})
    raise UserError(f"There is no notebook {name!r}; there are {', '.join(known) or 'none'}.")


def execute(notebook: Path, executed: Path, values: dict, root: Path, stage: bool = False) -> None:
    """Run a notebook with papermill; a signal, or the death of our parent, interrupts the cell at work.

    It may write the files of the study `root` only if it runs as a `stage` of it (`Study.output`).
    """
    os.environ.update(surroundings.person(os.environ, root / "scratch" / "home"))
    surroundings.without_uri_grammar()
    with _kernel(root, values.get("threads", surroundings.THREADS), stage) as kernel:
        # Imported while the kernel starts up in its own process.
        from nbclient.exceptions import DeadKernelError
        from papermill import PapermillExecutionError, execute_notebook

        try:
            execute_notebook(
                notebook,
                executed,
                parameters=values,
                kernel_name="python3",
                language="python",  # a notebook may not say so
                cwd=root,
                log_output=True,
                progress_bar=False,
                autosave_cell_every=60,
                km=kernel,
            )
        except PapermillExecutionError as error:
            first_line = (error.evalue.splitlines() or [""])[0]
            if error.ename == UserError.__name__:
                raise UserError(first_line) from None
            if error.ename == KeyboardInterrupt.__name__:
                raise CellError(f"{notebook.stem}: {first_line or 'interrupted; run it again'}") from None
            if shutil.disk_usage(root).free < NO_ROOM:  # torch, for one, does not say why it cannot write
                executed.unlink(missing_ok=True)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(root)) from None
            raise CellError(
                f"{notebook.stem}: the cell that begins `{error.source.splitlines()[0]}` failed with "
                f"{error.ename}: {first_line}; see {executed.with_suffix('.html')}."
            ) from None
        except OSError:  # no room for the executed notebook, of which there may be a part
            executed.unlink(missing_ok=True)
            raise
        except DeadKernelError:
            raise CellError(
                f"{notebook.stem}: the kernel died, most often for want of memory; see {executed}."
            ) from None


@contextmanager
def _kernel(root: Path, threads: int, stage: bool) -> Iterator:
    """A started kernel that ends when we do; should we be killed outright, it sees so and ends by itself."""
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_core.utils import run_sync

    class ThisPython(KernelSpecManager):
        """Knows one kernel, the interpreter that runs us: any other `python3` that Jupyter finds is a stranger's."""

        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return KernelSpec(
                argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], **KERNELSPEC
            )

    with ExitStack() as stack:
        # Sockets in a private folder, not ports: nobody else on the machine can talk to the kernel.
        folder = stack.enter_context(TemporaryDirectory(dir=surroundings.short_folder()))
        kernel = AsyncKernelManager(
            transport="ipc", connection_file=f"{folder}/kernel.json", kernel_spec_manager=ThisPython()
        )
        stack.callback(run_sync(kernel.shutdown_kernel), now=True)
        environment = surroundings.environment(os.environ, Path(folder), root / "scratch" / "caches", threads)
        run_sync(kernel.start_kernel)(
            cwd=str(root),
            env=environment | {STAGE: str(root.resolve()) if stage else ""},
            extra_arguments=["--HistoryManager.hist_file=:memory:", f"--IPKernelApp.exec_lines={FEWER_COLLECTIONS}"],
        )
        # nbclient asks for one client, and leaves closing it to the owner of the kernel.
        client = kernel.client()
        kernel.client = lambda: client
        stack.callback(client.stop_channels)
        stack.enter_context(_interrupts(kernel.provisioner.pgid))
        yield kernel


@contextmanager
def _interrupts(group: int) -> Iterator[None]:
    """Pass SIGINT, SIGTERM and the death of our parent on to the kernel's process group, as an interrupt.

    The kernel has a group of its own, so that a terminal's Ctrl-C does not reach it without us.
    """

    def interrupt(signum, frame):
        os.killpg(group, signal.SIGINT)
        signal.alarm(CLEANUP_SECONDS)

    handlers = {
        signal.SIGINT: interrupt,
        signal.SIGTERM: interrupt,
        signal.SIGALRM: lambda signum, frame: os.killpg(group, signal.SIGKILL),
    }
    before = {signum: signal.signal(signum, handler) for signum, handler in handlers.items()}
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    try:
        yield
    finally:
        signal.alarm(0)
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _end_with_parent(parent: int) -> None:
    """Send ourselves SIGTERM once `parent` is gone: no training outlives the `dvc repro` that started it."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


# ---- the page: prose and outputs together


def _with_prose(name: str, copy: dict, root: Path) -> dict:
    """The notebook as people wrote it, from the nearest `notebooks/` at or above the study.

    If its code was edited since the extract, the prose may not fit any more, and `copy` is used.
    """
    for folder in (root, *root.parents):
        path = folder / "notebooks" / f"{name}.ipynb"
        if path.is_file():
            full = read(path)
            if [source(cell) for cell in code_cells(full)] == [source(cell) for cell in copy["cells"]]:
                return full
    logging.getLogger(__name__).warning("%s: no prose in the page, the code changed since the extract", name)
    return copy


def weave(full: dict, executed: dict) -> dict:
    """`full` with the outputs of `executed`, by order of code cells, and with the parameters given."""
    ran = {cell["id"]: cell for cell in executed["cells"] if cell["cell_type"] == "code"}
    injected = [cell for cell in ran.values() if "injected-parameters" in cell["metadata"].get("tags", [])]
    cells = [dict(cell) for cell in full["cells"] if cell["cell_type"] != "code" or source(cell).strip()]
    for index, cell in enumerate(code_cells({"cells": cells})):
        cell |= {key: ran[f"c{index}"][key] for key in ("outputs", "execution_count")}
    after_parameters = next((i + 1 for i, cell in enumerate(cells) if is_parameters(cell)), 0)
    cells[after_parameters:after_parameters] = injected
    return executed | {"cells": cells}


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0; 1 if a cell failed; 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m s2f.study.notebook", description="Run notebooks as stages.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("extract", help="write code-only copies, after a check of params.yaml")
    command.add_argument("notebooks", type=Path, nargs="+", help="folders; of two with one name, the later one's")
    command.add_argument("target", type=Path, help="where the copies go")
    command.add_argument("--settings", default="s2f.study.config", metavar="MODULE", help="whose SECTIONS it must have")
    command = commands.add_parser("run", help="execute one notebook")
    command.add_argument("name", help="such as 30_train")
    command.add_argument("--params", metavar="SECTION", help="section of params.yaml, such as train")
    command.add_argument("--study", type=Path, metavar="DIR", help="default: the study of the working folder")
    commands.add_parser("index", help="link all executed notebooks in build/run/index.html, say after dvc pull")
    options = parser.parse_args(arguments)
    # papermill streams what the cells print through its logger, which is silent until logging is set up.
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if options.command == "extract":
            config.check(Path("params.yaml"), import_module(options.settings).SECTIONS)
            touched = extract(options.notebooks, options.target)
            for name, what in touched.items():
                print(f"{name}: {', '.join(what)}")
            if not touched:
                print("No notebook is touched.")
        elif options.command == "index":
            print(f"All notebooks: {pages.write_index(study().root)}")
        else:
            run(options.name, options.params, study(options.study).root)
    except (UserError, CellError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
