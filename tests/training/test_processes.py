"""One training in several processes: its curve is that of one process, also when others resume it after a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_face_and_voice import CPU, VOICES, face_models, world  # noqa: F401 (fixtures)
from torch import nn

from s2f.study import config
from s2f.training import processes
from s2f.training.loop import exponential, fit
from s2f.training.voice import train_voice_encoder

STEPS = 16
PARTS = 4


GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(64, 5, generator=GENERATOR, dtype=torch.float64)
TARGETS = INPUTS.sum(dim=1, keepdim=True).sin()


def toy(dropout: float) -> nn.Module:
    torch.manual_seed(1)
    middle = nn.BatchNorm1d(8), nn.Dropout(dropout)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), *middle, nn.Linear(8, 1)).double()


def batch_of(number: int) -> tuple[torch.Tensor, ...]:
    rows = np.random.default_rng([7, number]).integers(0, 64, 8)
    return INPUTS[rows], TARGETS[rows]


def train(folder: Path, device: torch.device = CPU, pause: float = 0.0, dropout: float = 0.2) -> pd.DataFrame:
    """Train a toy in parts, in double precision, with a weight of the loss that the fifth step changes."""
    kept = {"weight": torch.ones((), dtype=torch.float64)}

    def loss_of(model, step, x, y):
        time.sleep(pause)
        if step == 5:
            kept["weight"].fill_(x.mean().abs())
        error = ((model(x) - y) ** 2).mean()
        return {"loss": kept["weight"] * error, "error": error}

    return fit(
        toy(dropout),
        batch_of=batch_of,
        loss_of=loss_of,
        validate=lambda model: {"loss": ((model(INPUTS) - TARGETS) ** 2).mean()},
        steps=STEPS,
        learning_rate=exponential(0.05, 0.5, 8),
        seed=2,
        device=device,
        threads=1,
        validate_every=4,
        checkpoint=folder / "scratch",
        fingerprint="run",
        minutes=0.0,
        log=folder / "curve.csv",
        kept=kept,
        parts=PARTS,
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return train(tmp_path_factory.mktemp("alone"))


def test_a_step_in_parts_is_the_mean_over_its_parts(tmp_path):
    """Weights, statistics of batch normalisation and the weight of the loss, beside a plain loop."""
    train(tmp_path, dropout=0.0)
    found = torch.load(tmp_path / "scratch" / "run" / "state.pt", weights_only=True)
    model, weight = toy(0.0), torch.tensor(1.0, dtype=torch.float64)
    adam = torch.optim.Adam(model.parameters(), lr=0.05)
    statistics = [value for value in model.buffers() if value.is_floating_point()]
    for step in range(STEPS):
        adam.param_groups[0]["lr"] = 0.05 if step < 8 else 0.025
        adam.zero_grad()
        before, after, weights = [value.clone() for value in statistics], [], []
        for x, y in map(batch_of, range(step * PARTS, (step + 1) * PARTS)):
            for value, start in zip(statistics, before, strict=True):
                value.copy_(start)
            weights.append(x.mean().abs() if step == 5 else weight)
            (weights[-1] * ((model(x) - y) ** 2).mean() / PARTS).backward()
            after.append([value.clone() for value in statistics])
        for value, parts in zip(statistics, zip(*after, strict=True), strict=True):
            value.copy_(torch.stack(parts).mean(dim=0))
        weight = torch.stack(weights).mean()
        adam.step()
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(found["model"][name], value, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found["kept"]["weight"], weight)


def test_processes_killed_at_once_are_resumed_by_one(alone, tmp_path):
    """`torchrun` with two processes, `kill -9` of all in the middle, then one process: the curve of one throughout.

    The sums of four parts are taken in another order. In double precision that is some 1e-16 a step, which 16 steps of
    Adam (whose step is the gradient over its own size) enlarge by far less than the 1e7 allowed here.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", __file__, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    state, curve = tmp_path / "scratch" / "run" / "state.pt", tmp_path / "curve.csv"
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True) as started:
        deadline = time.monotonic() + 300
        while not (state.exists() and curve.exists() and curve.read_text().count("\n") >= 2):
            assert started.poll() is None and time.monotonic() < deadline, started.stderr.read().decode()[-2000:]
            time.sleep(0.05)
        os.killpg(started.pid, signal.SIGKILL)
    assert 4 <= torch.load(state, weights_only=True)["progress"]["step"] < STEPS
    resumed = train(tmp_path)
    np.testing.assert_allclose(resumed.to_numpy(), alone.to_numpy(), rtol=1e-9)


def test_a_notebook_starts_processes_that_train_as_one_does(world, face_models, tmp_path):  # noqa: F811
    """The voice encoder in two parts: by two processes that this one starts, and by this one.

    In float32 sums in another order differ by some 1e-7. Six steps enlarge that, but to less than a tenth of what one
    part in place of two makes of the curve.
    """
    encoder, decoder, features, _ = face_models
    cfg = VOICES.model_copy(update={"steps": 6, "validate_every": 2, "rebalance_step": 1})
    curves = {}
    for name, (count, parts) in {"one": (1, 2), "two": (2, 2), "whole": (1, 1)}.items():
        scale = config.Scale(processes=count, parts=parts, readers=2, fused=False)
        learner = train_voice_encoder(
            world.clips, world.shards, features, encoder, decoder, cfg,
            device=CPU, scale=scale, checkpoint=tmp_path / name, log=tmp_path / f"{name}.csv",
        )  # fmt: skip
        assert not learner.training
        curves[name] = pd.read_csv(tmp_path / f"{name}.csv").to_numpy()
    np.testing.assert_allclose(curves["two"], curves["one"], rtol=1e-3)
    assert np.abs(curves["whole"] / curves["one"] - 1).max() > 1e-2


if __name__ == "__main__":
    train(Path(sys.argv[1]), processes.join(), pause=0.05)
