"""What a stage runs in: the same environment on every machine, whatever the shell that starts it has set."""

import os
import pwd
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from s2f.study.paths import NUMBERS_ONLY, UserError

THREADS = 1  # of a stage whose section of params.yaml has no `threads`; fixed, because sums are rounded by it
SOCKET_FOLDER = 60  # bytes; the path of a socket may have 103, and Python and ZeroMQ put folders and names below ours

# What a shell has set for these does not reach a stage: they change what code does, not where it lies.
DROPPED = (
    "PYTHON", "IPYTHON", "JUPYTER", "MPL", "MATPLOTLIB", "OMP_", "MKL_", "OPENBLAS_", "GOTO_", "NUMBA_", NUMBERS_ONLY,
)  # fmt: skip
KEPT = {
    "PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE",
}  # fmt: skip


def environment(shell: Mapping[str, str], private: Path, caches: Path, threads: int) -> dict[str, str]:
    """The environment of a kernel.

    Arguments:
        shell: the environment of the process that starts it.
        private: a folder that ends with the kernel; its parent has a path short enough for sockets.
        caches: a folder that outlives the kernel; it need not exist.
        threads: of torch and what else uses OpenMP.

    Left out is what would change results or keep the kernel from starting: Python's switches (no assertions, warnings
    as errors, a start-up file), the user's Jupyter, IPython and matplotlib. Proxies, CUDA and the like pass.
    """
    passed = {name: value for name, value in shell.items() if name in KEPT or not name.startswith(DROPPED)}
    return {
        **passed,
        # Results.
        "PYTHONHASHSEED": "0",  # the order of a set of strings
        "PYTHONUTF8": "1",  # files and output, under any locale
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # any other shows no figure in the page
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads)),
        "OPENBLAS_NUM_THREADS": "1",  # NumPy's: it takes no more than there are cores, and rounds by their number
        "OMP_DYNAMIC": "FALSE",  # neither fewer threads when the machine is busy ...
        "MKL_DYNAMIC": "FALSE",  # ... nor when it has fewer cores
        "OMP_WAIT_POLICY": "PASSIVE",  # a thread that waits for another sleeps, and leaves its core to others
        # Start-up files, extensions and settings of the user: none are in a folder that was just made.
        "IPYTHONDIR": f"{private}/ipython",
        "JUPYTER_CONFIG_DIR": f"{private}/jupyter",
        "JUPYTER_DATA_DIR": f"{private}/jupyter",
        "JUPYTER_RUNTIME_DIR": f"{private}/jupyter",
        "TMPDIR": f"{private.parent}",  # worker processes make sockets of their own in it
        # Caches beside the study: a home may not be writable, and one of matplotlib's may hold the user's settings.
        "MPLCONFIGDIR": f"{caches}/matplotlib",
        "NUMBA_CACHE_DIR": f"{caches}/numba",
        "TORCHINDUCTOR_CACHE_DIR": f"{caches}/torchinductor",
        "TRITON_CACHE_DIR": f"{caches}/triton",
    }


def person(shell: Mapping[str, str], home: Path) -> dict[str, str]:
    """A name and a home for a user id that the system does not know (`docker run --user 4321`), where `shell` has none.

    torch asks for the name, Jupyter for the home; it need not exist.
    """
    try:
        pwd.getpwuid(os.getuid())
        return {}
    except KeyError:
        name = f"user{os.getuid()}"
        unknown = {"USER": name, "LOGNAME": name, "HOME": str(home)}
        return {key: value for key, value in unknown.items() if not shell.get(key)}


def without_uri_grammar() -> None:
    """Keep jsonschema from building a grammar of URIs when it is imported: 2 s for what nothing here needs."""
    sys.modules.setdefault("rfc3987_syntax", None)  # which is optional there


def short_folder() -> str:
    """The folder for temporary files, or another if its path is too long for sockets; UserError if all are."""
    for folder in (tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", "/tmp"), "/tmp", "/var/tmp", "/dev/shm"):
        if len(os.fsencode(os.path.abspath(folder))) <= SOCKET_FOLDER and os.access(folder, os.W_OK | os.X_OK):
            return os.path.abspath(folder)
    raise UserError(
        f"TMPDIR is {tempfile.gettempdir()}, which is too long a path for the sockets of a notebook's kernel: "
        f"set it to a folder whose path has at most {SOCKET_FOLDER} bytes."
    )
