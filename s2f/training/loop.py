"""One training loop for every model: stop it at any moment, start it again, and the same weights come out.

A batch is a function of (seed, step), so resuming replays no sampler; all else that a step reads is in the
checkpoint. On one machine the resumed weights and the curve are bit-identical, unless a GPU operation has no
deterministic kernel (torch warns of it), as the image warp of the face decoder.

A step may be computed in parts, one after the other on one GPU or divided among several. Each part is a batch of its
own, with batch statistics and random numbers of its own; gradients, and all else that a part changes, become the mean
over the parts. So the curve is the same whoever computes them, up to the rounding of sums that are taken in another
order.
"""

import ctypes
import hashlib
import io
import math
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from IPython.display import Image, display
from matplotlib.figure import Figure
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm.auto import tqdm

from s2f.study import blocks
from s2f.study.paths import UserError, replacing
from s2f.training import processes

SECONDS_BETWEEN_DRAWINGS = 5
FAULTS = 4  # how often a run may go back to its last checkpoint because a number was not finite


@dataclass
class Progress:
    """What a run has done so far, beside its weights."""

    step: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)  # of each training term since the last row
    rows: list[dict[str, int | float]] = field(default_factory=list)  # the curve
    best: dict[str, Tensor] = field(default_factory=dict)  # weights with the lowest validation loss


def fit(
    model: nn.Module,
    *,
    batch_of: Callable[[int], tuple[Tensor, ...]],
    loss_of: Callable[..., dict[str, Tensor]],
    validate: Callable[[nn.Module], dict[str, float]],
    steps: int,
    learning_rate: Callable[[int], float],
    seed: int,
    device: torch.device,
    threads: int,
    validate_every: int,
    checkpoint: Path,
    fingerprint: str,
    minutes: float,
    log: Path,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    best_by: str = "val_loss",
    kept: dict[str, Tensor] | None = None,
    live: bool = False,
    parts: int = 1,
    readers: int = 1,
    repeatable: bool = True,
) -> pd.DataFrame:
    """Train `model` with Adam, leave the weights of its best validation in it, and return the learning curve.

    `batch_of(number)` makes a batch on the CPU, ahead of its use, in `readers` threads. Step s takes the `parts`
    batches from s x `parts` on. `loss_of(model, step, *batch)` returns named scalars, among them `loss`; it may change
    the tensors of `kept`, which are saved, in place. `validate(model)` returns named numbers, among them `loss`. The
    curve, also written to `log` as CSV, has a row every `validate_every` steps: means of the training terms since the
    row before, and the validation as `val_*`. The best row is the one with the smallest `best_by`.

    Where several processes call this (`s2f.training.processes`), they divide the parts of each step, and the first one
    writes; another number of them may resume it. `repeatable=False` takes a GPU's fastest kernels, however they round.

    The state of the run lies in `checkpoint / fingerprint`. It is saved every `minutes`, on Ctrl-C, on
    SIGTERM (both end in KeyboardInterrupt), and at the end, so that a finished run is not trained twice.
    Where a loss or gradient is not finite, the run goes back to its last checkpoint. UserError if that does not help,
    or if the processes cannot divide the parts.
    """
    if parts % processes.count():
        raise UserError(
            f"{processes.count()} processes cannot divide {parts} parts of a batch: set parts to a multiple of them."
        )
    kept = {} if kept is None else kept
    folder = checkpoint / fingerprint
    path = folder / "state.pt"
    first = processes.rank() == 0
    alone = blocks.alone(folder) if first else nullcontext()
    with alone, seeded(seed, device), _kernels(device, threads, repeatable), _signals_held() as signals:
        processes.wait()  # until the first one has the folder to itself
        model.to(device)
        adam = torch.optim.Adam(model.parameters(), lr=learning_rate(0), betas=betas, eps=eps, fused=True)
        progress = _restore(path, model, adam, kept, device) if path.exists() else Progress()
        beginning = io.BytesIO()
        torch.save(_state(model, adam, kept, progress, device), beginning)
        picture = _LivePicture() if live and first else None
        differentiate = _InParts(model, loss_of, kept, seed, parts) if parts > 1 else _AtOnce(model, loss_of)
        faults = 0
        with tqdm(
            total=steps, initial=progress.step, desc=log.stem, unit="step", mininterval=5, disable=not first
        ) as bar:
            while progress.step < steps:
                _write_curve(progress.rows, log)
                saved = time.monotonic()
                remaining = range(progress.step, steps)
                numbers = (step * parts + part for step in remaining for part in _own(parts))
                model.train()
                try:
                    with closing(read_ahead(batch_of, numbers, readers, device)) as batches:
                        for step in remaining:
                            for group in adam.param_groups:
                                group["lr"] = learning_rate(step)
                            terms = differentiate(step, batches, adam, other_kernels=faults == FAULTS - 1)
                            adam.step()
                            for name, value in terms.items():
                                # Summed where the model runs: reading a number back would make the GPU wait.
                                progress.sums[name] = progress.sums.get(name, 0) + value.double()
                            progress.step = step + 1
                            last = progress.step == steps
                            if progress.step % validate_every == 0 or last:
                                _add_row(progress, model, validate, learning_rate(step), best_by)
                                _write_curve(progress.rows, log)
                                if picture:
                                    picture.draw(progress.rows, last)
                            bar.update()
                            due = last or time.monotonic() - saved > 60 * minutes
                            stopped, due = processes.any_of(bool(signals), due)
                            if stopped or due:
                                _save(path, model, adam, kept, progress, device)
                                saved = time.monotonic()
                            if stopped:
                                raise KeyboardInterrupt(
                                    f"{(signals or ['another process'])[0]}: {log.stem} stopped and saved after step "
                                    f"{progress.step} of {steps}; run it again to go on from there."
                                )
                except FloatingPointError:
                    faults += 1
                    if faults == FAULTS:
                        raise UserError(
                            f"The loss or its gradient is not finite near step {progress.step}, time and again: "
                            "use a lower learning rate."
                        ) from None
                    beginning.seek(0)
                    _release_free_memory()
                    progress = _restore(path if path.exists() else beginning, model, adam, kept, device)
                    bar.n = progress.step
        _write_curve(progress.rows, log)
        model.load_state_dict(progress.best)
    model.eval()
    return pd.DataFrame(progress.rows)


class _AtOnce:
    """The terms of a step, whose batch is computed at once, and its gradients."""

    def __init__(self, model: nn.Module, loss_of: Callable[..., dict[str, Tensor]]):
        self.model, self.loss_of = model, loss_of

    def __call__(
        self, step: int, batches: Iterator[tuple[Tensor, ...]], adam: torch.optim.Adam, other_kernels: bool
    ) -> dict[str, Tensor]:
        terms = self.loss_of(self.model, step, *next(batches))
        _differentiate(terms["loss"], adam, other_kernels)
        return {name: value.detach() for name, value in terms.items()}


class _InParts:
    """The terms and gradients of a step as means over its parts, of which this process computes its own."""

    def __init__(
        self,
        model: nn.Module,
        loss_of: Callable[..., dict[str, Tensor]],
        kept: dict[str, Tensor],
        seed: int,
        parts: int,
    ):
        self.seed, self.parts = seed, parts
        self.losses = _Losses(model, loss_of)
        # Statistics of batch normalisation, and what the loss keeps: each part starts from those of the step before.
        self.changed = [value for value in (*model.buffers(), *kept.values()) if value.is_floating_point()]
        if processes.count() > 1:
            self.losses = DistributedDataParallel(self.losses, broadcast_buffers=False, gradient_as_bucket_view=True)

    def __call__(
        self, step: int, batches: Iterator[tuple[Tensor, ...]], adam: torch.optim.Adam, other_kernels: bool
    ) -> dict[str, Tensor]:
        adam.zero_grad()
        before = [value.clone() for value in self.changed]
        sums = [torch.zeros_like(value) for value in self.changed]
        means: dict[str, Tensor] = {}
        own = _own(self.parts)
        for part in own:
            for value, start in zip(self.changed, before, strict=True):
                value.copy_(start)
            torch.manual_seed(_seed_of(self.seed, step * self.parts + part))  # of dropout
            # The gradients of the processes are averaged once, beside the computation of the last part.
            waits = processes.count() > 1 and part != own[-1]
            with self.losses.no_sync() if waits else nullcontext():
                terms = self.losses(step, *next(batches))
                (terms["loss"] / len(own)).backward()
            for name, value in terms.items():
                means[name] = means.get(name, 0) + value.detach().double()
            for total, value in zip(sums, self.changed, strict=True):
                total += value
        processes.average([*means.values(), *sums], self.parts)
        for value, total in zip(self.changed, sums, strict=True):
            value.copy_(total)
        if not _finite_gradients(adam):
            raise FloatingPointError
        return means


class _Losses(nn.Module):
    """The named losses of a batch as a module, which is what DistributedDataParallel takes."""

    def __init__(self, model: nn.Module, loss_of: Callable[..., dict[str, Tensor]]):
        super().__init__()
        self.model, self.loss_of = model, loss_of

    def forward(self, step: int, *batch: Tensor) -> dict[str, Tensor]:
        return self.loss_of(self.model, step, *batch)


def _own(parts: int) -> range:
    """The parts of each batch that this process computes."""
    return range(processes.rank(), parts, processes.count())


def _seed_of(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _differentiate(loss: Tensor, adam: torch.optim.Adam, other_kernels: bool) -> None:
    """Gradients of a loss; FloatingPointError where, on the CPU, one is not finite, also when it is computed again.

    On a shared machine, oneDNN's bfloat16 kernels for processors with AMX gave NaN for the weights of one layer about
    once in 500 steps, though the loss was finite; computed again, with memory given back to the system before, the
    gradient was mostly what it should have been. `other_kernels`: after that, try without oneDNN; it is slower, and
    rounds otherwise. On a GPU the check would make the device wait at each step.
    """
    tries = [True] if loss.is_cuda else [True, True, False] if other_kernels else [True, True]
    for number, fast in enumerate(tries, 1):
        adam.zero_grad()
        with torch.backends.mkldnn.flags(enabled=fast and torch.backends.mkldnn.enabled):
            loss.backward(retain_graph=number < len(tries))
        if _finite_gradients(adam):
            return
        _release_free_memory()
    raise FloatingPointError


def _finite_gradients(adam: torch.optim.Adam) -> bool:
    """Whether no gradient on the CPU is infinite or NaN."""
    gradients = (weight.grad for group in adam.param_groups for weight in group["params"])
    return all(torch.isfinite(gradient).all() for gradient in gradients if gradient is not None and gradient.is_cpu)


def _release_free_memory() -> None:
    """Give the memory that the C library keeps for later back to the system, where it can do that (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def exponential(start: float, factor: float, every: int) -> Callable[[int], float]:
    """Learning rate that falls by `factor` after each `every` steps."""
    return lambda step: start * factor ** (step // every)


def cosine(start: float, steps: int) -> Callable[[int], float]:
    """Learning rate that falls from `start` to nothing along half a cosine: better when steps are few."""
    return lambda step: start * 0.5 * (1 + math.cos(math.pi * step / steps))


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Run the block with torch's random numbers started at `seed`, and leave the caller's as they were."""
    gpus = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        yield


def fingerprint(*parts) -> str:
    """16 hex digits that change when any part does: settings, arrays, tables, models, plain values, or files.

    A `Path` counts by its bytes, not its name; a folder by its files and their names.
    """
    digest = hashlib.sha256()
    for part in parts:
        # Length first, so that ("ab", "c") and ("a", "bc") differ.
        content = _content(part)
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:16]


def _content(part) -> bytes:
    match part:
        case BaseModel():
            return part.model_dump_json().encode()
        case Path() if part.is_dir():
            return "".join(f"{file.name} {fingerprint(file)} " for file in sorted(part.iterdir())).encode()
        case Path():
            with part.open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        case np.ndarray():
            return f"{part.dtype} {part.shape} ".encode() + hashlib.sha256(np.ascontiguousarray(part)).digest()
        case pd.DataFrame():
            return f"{list(part.columns)} {fingerprint(pd.util.hash_pandas_object(part).to_numpy())}".encode()
        case nn.Module():
            weights = part.state_dict().items()
            return "".join(f"{name} {fingerprint(value.cpu().numpy())} " for name, value in weights).encode()
        case str() | int() | float() | None:
            return repr(part).encode()
    raise TypeError(f"fingerprint() does not know how to digest a {type(part).__name__}")


@contextmanager
def _kernels(device: torch.device, threads: int, repeatable: bool) -> Iterator[None]:
    """Run the block with repeatable kernels, or the fastest, and a fixed number of threads (sums depend on it)."""
    if device.type == "cuda":
        # cuBLAS repeats itself only with a workspace of fixed size, and reads this when it starts.
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(repeatable, warn_only=True)
    torch.backends.cudnn.benchmark = not repeatable  # times the kernels of each convolution, and keeps the fastest
    # Fills every new tensor with NaN, to show reads of memory that nobody wrote; it costs a seventh of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.set_num_threads(before[1])
        torch.backends.cudnn.benchmark = before[2]


@contextmanager
def _signals_held() -> Iterator[list[str]]:
    """Collect Ctrl-C and SIGTERM, so that no step is cut in half; a second signal acts at once."""
    received = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # Python delivers signals to the main thread only
        return

    def restore():
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number, _frame):
        received.append(signal.Signals(number).name)
        restore()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        restore()


def read_ahead(
    batch_of: Callable[[int], tuple[Tensor, ...]], numbers: Iterable[int], readers: int, device: torch.device
) -> Iterator[tuple[Tensor, ...]]:
    """The batches in order, on the device; the next ones are in the making while one is used."""

    def read(number: int) -> tuple[Tensor, ...]:
        batch = batch_of(number)
        # From pinned memory a copy to the GPU goes on beside the computation.
        return tuple(tensor.pin_memory() for tensor in batch) if device.type == "cuda" else batch

    numbers = iter(numbers)
    with ThreadPoolExecutor(max_workers=readers) as threads:
        waiting = deque(threads.submit(read, number) for number in islice(numbers, readers + 1))
        while waiting:
            batch = waiting.popleft().result()
            yield tuple(tensor.to(device, non_blocking=True) for tensor in batch)
            waiting.extend(threads.submit(read, number) for number in islice(numbers, 1))


def _add_row(progress: Progress, model: nn.Module, validate, learning_rate: float, best_by: str) -> None:
    """Add a row to the curve, and keep the weights if it is the best."""
    stretch = progress.step - (progress.rows[-1]["step"] if progress.rows else 0)
    row = {"step": progress.step, "learning_rate": learning_rate}
    row |= {name: value.item() / stretch for name, value in progress.sums.items()}
    model.eval()
    with torch.inference_mode():
        row |= {f"val_{name}": float(value) for name, value in validate(model).items()}
    model.train()
    if not all(math.isfinite(value) for value in row.values()):
        raise FloatingPointError
    if not progress.rows or row[best_by] < min(earlier[best_by] for earlier in progress.rows):
        progress.best = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    progress.rows.append(row)
    progress.sums = {}


def _write_curve(rows: list[dict[str, int | float]], log: Path) -> None:
    """Write the whole curve anew: rows that a killed run logged after its checkpoint vanish."""
    if processes.rank() > 0:
        return
    with replacing(log) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, float_format="%.6g")


def _state(model, adam, kept: dict[str, Tensor], progress: Progress, device: torch.device) -> dict:
    """All that a run needs to go on; FloatingPointError if it is not finite, as every later run would take it up."""
    numbers = (*model.state_dict().values(), *progress.sums.values())
    if not all(torch.isfinite(value).all() for value in numbers):
        raise FloatingPointError
    return {
        "model": model.state_dict(),
        "adam": adam.state_dict(),
        "kept": kept,
        "progress": vars(progress),
        "random": torch.get_rng_state(),
        "random_gpu": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def _save(path: Path, model, adam, kept: dict[str, Tensor], progress: Progress, device: torch.device) -> None:
    state = _state(model, adam, kept, progress, device)
    if processes.rank() == 0:
        # One fixed name, since the folder is locked: a killed process leaves at most one unfinished file behind.
        unfinished = path.with_suffix(".unfinished")
        torch.save(state, unfinished)
        os.replace(unfinished, path)
    processes.wait()


def _restore(path: Path | io.BytesIO, model, adam, kept: dict[str, Tensor], device: torch.device) -> Progress:
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    adam.load_state_dict(state["adam"])
    for name, value in state["kept"].items():
        kept[name].copy_(value)
    torch.set_rng_state(state["random"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["random_gpu"], device)
    progress = Progress(**state["progress"])
    progress.sums = {name: value.to(device) for name, value in progress.sums.items()}
    return progress


class _LivePicture:
    """The curve in a notebook, drawn over itself every few seconds."""

    def __init__(self):
        self.handle, self.drawn = None, -math.inf

    def draw(self, rows: list[dict[str, int | float]], last: bool) -> None:
        if time.monotonic() - self.drawn < SECONDS_BETWEEN_DRAWINGS and not last:
            return
        figure = Figure(figsize=(6, 3), layout="constrained")
        axes = figure.subplots()
        pd.DataFrame(rows).plot(x="step", y=["loss", "val_loss"], ax=axes, grid=True)
        png = io.BytesIO()
        figure.savefig(png, format="png")
        if self.handle is None:
            self.handle = display(Image(png.getvalue()), display_id=True)
        else:
            self.handle.update(Image(png.getvalue()))
        self.drawn = time.monotonic()
