"""Several processes, one a GPU, that train one model: who they are, how they agree, and how a notebook starts them.

A process knows the others by torch.distributed, as `torchrun` or `launch` sets it up; without either it is alone and
nothing here does anything.
"""

import os
import signal
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from s2f.study.paths import UserError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)  # which the launcher handles


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if joined() else 0


def joined() -> bool:
    """Whether this is a process among others, or one that was started as such."""
    return dist.is_initialized()


def count() -> int:
    """How many processes there are."""
    return dist.get_world_size() if joined() else 1


def join() -> torch.device:
    """Join the processes that `torchrun` started, if it did; the device of this one."""
    if "LOCAL_RANK" not in os.environ:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not joined():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    return device


def average(sums: list[Tensor], parts: int) -> None:
    """Replace sums over this process's parts of a batch by the mean over the parts of all processes, in place."""
    for device, dtype in dict.fromkeys((tensor.device, tensor.dtype) for tensor in sums):
        alike = [tensor for tensor in sums if (tensor.device, tensor.dtype) == (device, dtype)]
        flat = torch.cat([tensor.reshape(-1) for tensor in alike])  # one message, not one for each
        if count() > 1:
            dist.all_reduce(flat)
        for tensor, mean in zip(alike, (flat / parts).split([tensor.numel() for tensor in alike]), strict=True):
            tensor.copy_(mean.reshape(tensor.shape))


def any_of(*flags: bool) -> list[bool]:
    """Whether each flag is set in any process. Asked on the CPU, so that no GPU waits."""
    if count() == 1:
        return list(flags)
    votes = torch.tensor(flags, dtype=torch.int32)
    dist.all_reduce(votes, dist.ReduceOp.MAX)
    return votes.bool().tolist()


def in_order(own: list[Tensor], number: int) -> Tensor:
    """The `number` tensors of all processes as one; this one computed every `count()`-th of them, from `rank()` on."""
    if count() == 1:
        return torch.cat(own)
    shares: list[Any] = [None] * count()
    dist.all_gather_object(shares, [tensor.cpu() for tensor in own])
    return torch.cat([shares[place % count()][place // count()] for place in range(number)])


def wait() -> None:
    """Wait for the others."""
    if count() > 1:
        dist.barrier()


def launch(number: int, function: Callable, *args, **kwargs) -> None:
    """Run `function(*args, device=..., **kwargs)` in so many new processes, as `torchrun` would; from a notebook too.

    The function must be one that a module holds, and what it is given must be picklable. What it returns is lost.

    Raises:
        UserError: if a process fails, with its message.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, which is passed on to the processes.
    """
    config = LaunchConfig(1, 1, number, rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0)
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        elastic_launch(config, _joined)(function, args, kwargs)
    except ChildFailedError as error:
        _, first = error.get_first_failure()
        raise UserError(f"Process {first.local_rank} of the training failed: {first.message}") from None
    except SignalException as received:
        raise KeyboardInterrupt(f"{received.sigval.name}: the processes were stopped.") from None
    finally:
        for number, handler in handlers.items():  # which the launcher leaves to itself
            signal.signal(number, handler)


def _joined(function: Callable, args: tuple, kwargs: dict) -> None:
    try:
        function(*args, device=join(), **kwargs)
    finally:
        dist.destroy_process_group()
