"""What results were made by: the commit of the code, the machine, the versions."""

import json
import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

import s2f
from s2f.study import config, surroundings
from s2f.study.paths import Study, md5

PACKAGES = ("s2f", "numpy", "torch")
# What a study makes changes with every run, and says nothing of the code.
NOT_CODE = (":(top,exclude,glob)**/results/**", ":(top,exclude,glob)**/dvc.lock")


def library() -> Path:
    """The folder of the s2f package that runs."""
    return Path(s2f.__file__).parent


def commit() -> str:
    """The commit of the checkout that the library is in, with the files that differ from it, results aside."""
    head = _git(library(), "rev-parse", "--short=10", "HEAD")
    # A folder inside somebody else's repository has the commit of that one, which says nothing.
    if not head or not _git(library(), "ls-files", "__init__.py"):
        return "not known: the code is in no Git checkout"
    changed = [line[3:] for line in _git(library(), "status", "--porcelain", "--", ":/", *NOT_CODE).splitlines()]
    if not changed:
        return f"{head.strip()}, nothing changed since"
    more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
    return f"{head.strip()}, changed since: {', '.join(changed[:5])}{more}"


def differs(file: Path) -> bool:
    """Whether Git tracks this file with another content; False where there is no Git."""
    return bool(_git(file.parent, "status", "--porcelain", "--", file.name))


def resolved(folder: Path, revision: str) -> str:
    """The full name of a commit in the checkout around a folder; empty where there is no such commit, or no Git."""
    return _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip()


def committed(folder: Path, commit: str, place: str) -> dict[str, str]:
    """The JSON and YAML files that Git holds at a place in a folder, such as `results/`: their texts, by path."""
    names = _git(folder, "ls-tree", "--name-only", commit, place).splitlines()
    files = [name for name in names if name.endswith((".json", ".yaml"))]
    return {name: _git(folder, "show", f"{commit}:./{name}") for name in files}


def _git(folder: Path, *arguments: str) -> str:
    """What Git prints; nothing where there is no Git, or no checkout."""
    # The checkout may belong to another user, as in a container.
    command = ["git", "-c", "safe.directory=*", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def machine() -> str:
    """Processor, cores that may be used, memory, GPU and operating system."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [_processor(), f"{cores} core{'s' * (cores != 1)}"]
    if "SC_PHYS_PAGES" in os.sysconf_names:
        parts.append(f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB of memory")
    parts.append(torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")
    return ", ".join([*parts, platform.system()])


def _processor() -> str:
    """The name of the processor, or of its kind where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def versions() -> str:
    """Python, and the packages that the numbers depend on."""
    found = (f"{name} {metadata.version(name)}" for name in PACKAGES)
    return ", ".join([f"Python {platform.python_version()}", *found])


def record(study: Study) -> dict:
    """What a run was made by, for results/run.json: all that may make its numbers differ from those of another.

    Returns:
        `commit` and `machine` in words; `code`, the digest of each notebook with all that it reaches; `parameters` as
        in params.yaml; `threads` of a stage whose section names none; `versions` of Python and of all packages that
        s2f asks for; `minutes` of each executed notebook.
    """
    requirements = [re.match(r"[\w.-]+", line)[0] for line in metadata.requires("s2f") if "extra ==" not in line]
    versions = {"Python": platform.python_version(), "s2f": metadata.version("s2f")}
    for name in sorted(requirements):
        versions[name] = metadata.version(name)
    minutes = {}
    for path in sorted((study.build / "run").glob("*.ipynb")):
        executed = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("papermill", {})
        if executed.get("duration"):  # none while it runs
            minutes[path.stem] = executed["duration"] / 60
    return {
        "code": {path.stem: md5(path) for path in sorted((study.build / "src").glob("*.ipynb"))},
        "commit": commit(),
        "machine": machine(),
        "minutes": minutes,
        "parameters": config.read(study.params),
        "threads": surroundings.THREADS,
        "versions": versions,
    }
