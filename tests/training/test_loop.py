"""The training loop: a run that was stopped anywhere goes on to the same bits."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn

from s2f.study.paths import UserError
from s2f.training.loop import cosine, exponential, fingerprint, fit

CPU = torch.device("cpu")
STEPS = 24


def toy_fit(
    folder, *, interrupt_at=None, kind=signal.SIGINT, pause=0.0, minutes=60.0, key="run", fail=None, spoil=None
):
    """Train a toy with all that a resumed run can lose: batch norm, dropout, Adam, a changing weight."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 5, generator=generator)
    targets = inputs.sum(dim=1, keepdim=True).sin()
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))
    kept = {"weight": torch.ones(())}
    if spoil is not None:
        model[0].weight.register_hook(spoil)

    def batch_of(step):
        rows = np.random.default_rng([7, step]).integers(0, 64, 16)
        return inputs[rows], targets[rows]

    def loss_of(model, step, x, y):
        time.sleep(pause)
        if step == interrupt_at:
            signal.raise_signal(kind)
        if step == 5:
            kept["weight"].fill_(0.5)
        error = ((model(x) - y) ** 2).mean()
        return {"loss": kept["weight"] * error * (torch.nan if step == fail else 1), "error": error}

    def validate(model):
        return {"loss": ((model(inputs) - targets) ** 2).mean()}

    curve = fit(
        model,
        batch_of=batch_of,
        loss_of=loss_of,
        validate=validate,
        steps=STEPS,
        learning_rate=cosine(0.05, STEPS),
        betas=(0.5, 0.999),
        eps=1e-4,
        seed=2,
        device=CPU,
        threads=1,
        validate_every=5,
        checkpoint=folder / "scratch",
        fingerprint=key,
        minutes=minutes,
        log=folder / "curve.csv",
        kept=kept,
    )
    return model, curve


def outcome(folder, model):
    weights = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
    return weights, (folder / "curve.csv").read_bytes()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    model, _ = toy_fit(folder)
    return outcome(folder, model)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [0, 4, 5, 12, STEPS - 1])
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path, uninterrupted, step, kind):
    with pytest.raises(KeyboardInterrupt, match=f"{kind.name}.*after step {step + 1} of {STEPS}; run it again"):
        toy_fit(tmp_path, interrupt_at=step, kind=kind)
    model, _ = toy_fit(tmp_path)
    assert outcome(tmp_path, model) == uninterrupted


def test_a_run_stopped_again_and_again_goes_on_to_the_same_bits(tmp_path, uninterrupted):
    for step in range(0, STEPS, 3):
        with pytest.raises(KeyboardInterrupt):
            toy_fit(tmp_path, interrupt_at=step)
    model, _ = toy_fit(tmp_path)
    assert outcome(tmp_path, model) == uninterrupted


def test_a_killed_process_loses_no_more_than_since_its_checkpoint(tmp_path, uninterrupted):
    # Saving at each step (minutes=0) and a pause in each, so that the kill lands in the middle of the run.
    program = f"import pathlib, test_loop\ntest_loop.toy_fit(pathlib.Path({str(tmp_path)!r}), pause=0.1, minutes=0.0)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.DEVNULL) as process:
        state, curve = tmp_path / "scratch" / "run" / "state.pt", tmp_path / "curve.csv"
        deadline = time.monotonic() + 60
        while not (state.exists() and curve.read_text().count("\n") >= 2):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    step = torch.load(state, weights_only=True)["progress"]["step"]
    assert 4 <= step < STEPS  # the row of step 5 is written just before its checkpoint
    curve.write_text(curve.read_text() + "999,0,0,0,0\n")  # a row written after the checkpoint
    model, _ = toy_fit(tmp_path)
    assert outcome(tmp_path, model) == uninterrupted


def test_a_finished_run_is_not_trained_again(tmp_path, uninterrupted):
    toy_fit(tmp_path)
    (tmp_path / "curve.csv").unlink()
    model, _ = toy_fit(tmp_path, interrupt_at=0)  # no step is run, so nothing stops it
    assert outcome(tmp_path, model) == uninterrupted


def test_another_fingerprint_starts_afresh(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        toy_fit(tmp_path, interrupt_at=3)
    with pytest.raises(KeyboardInterrupt, match="after step 1 of"):
        toy_fit(tmp_path, interrupt_at=0, key="other")


def test_the_weights_are_those_of_the_best_validation(tmp_path):
    model, curve = toy_fit(tmp_path)
    assert list(curve["step"]) == [5, 10, 15, 20, STEPS]
    state = torch.load(tmp_path / "scratch" / "run" / "state.pt", weights_only=True)
    last = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))
    last.load_state_dict(state["model"])
    inputs = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    targets = inputs.sum(dim=1, keepdim=True).sin()
    with torch.inference_mode():
        error, error_last = (((m.eval()(inputs) - targets) ** 2).mean().item() for m in (model, last))
    assert error == curve["val_loss"].min()
    assert error_last == curve["val_loss"].iloc[-1]


def test_a_loss_that_is_not_finite_is_an_error(tmp_path):
    with pytest.raises(UserError, match="not finite near step"):
        toy_fit(tmp_path, fail=7)


def test_a_gradient_that_is_not_finite_by_accident_is_computed_again(tmp_path, uninterrupted):
    """As oneDNN's bfloat16 kernels give them now and then; the loss itself is finite."""
    calls = []

    def spoil(gradient):
        calls.append(None)
        return gradient * torch.nan if len(calls) == 4 else gradient

    model, _ = toy_fit(tmp_path, spoil=spoil)
    assert len(calls) == STEPS + 1
    assert outcome(tmp_path, model) == uninterrupted


def test_a_fault_that_stays_for_a_step_sends_the_run_back_to_its_last_checkpoint(tmp_path, uninterrupted):
    calls = []

    def spoil(gradient):
        calls.append(None)
        return gradient * torch.nan if len(calls) in (7, 8) else gradient

    model, _ = toy_fit(tmp_path, spoil=spoil, minutes=0.0)
    assert len(calls) == STEPS + 2  # the step before is saved, so only this one is made again
    assert outcome(tmp_path, model) == uninterrupted


def test_a_gradient_that_is_never_finite_is_an_error(tmp_path):
    with pytest.raises(UserError, match="not finite"):
        toy_fit(tmp_path, spoil=lambda gradient: gradient * torch.nan)


def test_no_checkpoint_holds_a_loss_that_is_not_finite(tmp_path, uninterrupted):
    """A fault that comes once (bad memory, say) must not be saved, or every later run would take it up again."""
    with pytest.raises(UserError, match="not finite near step"):
        toy_fit(tmp_path, fail=7, minutes=0.0)
    model, _ = toy_fit(tmp_path)
    assert outcome(tmp_path, model) == uninterrupted


def test_a_second_training_of_a_run_waits_for_the_first(tmp_path, uninterrupted, capsys):
    program = f"import pathlib, test_loop\ntest_loop.toy_fit(pathlib.Path({str(tmp_path)!r}), pause=0.1)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.DEVNULL) as first:
        while not (tmp_path / "curve.csv").exists():
            assert first.poll() is None
            time.sleep(0.01)
        model, _ = toy_fit(tmp_path, interrupt_at=0)  # no step is left to run, so nothing stops it
    assert first.returncode == 0
    assert "waiting for it to leave" in capsys.readouterr().out
    assert outcome(tmp_path, model) == uninterrupted


def test_the_caller_keeps_its_random_numbers_threads_and_signals(tmp_path):
    torch.manual_seed(3)
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        signal.getsignal(signal.SIGINT),
    )
    toy_fit(tmp_path)
    after = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        signal.getsignal(signal.SIGINT),
    )
    assert after == before


def test_learning_rates():
    paper = exponential(1e-3, 0.95, 10_000)
    assert [paper(step) for step in (0, 9_999, 10_000, 25_000)] == [1e-3, 1e-3, 0.95e-3, 0.95**2 * 1e-3]
    fall = cosine(2.0, 10)
    assert fall(0) == 2.0 and fall(5) == pytest.approx(1.0) and 0 < fall(9) < fall(8)


def test_a_fingerprint_tells_parts_apart(tmp_path):
    (tmp_path / "a").write_text("ab")
    (tmp_path / "b").write_text("ab")
    array = np.arange(6)
    prints = [
        fingerprint("ab", "c"),
        fingerprint("a", "bc"),
        fingerprint(array),
        fingerprint(array.reshape(2, 3)),
        fingerprint(array.astype(np.int32)),
        fingerprint(1),
        fingerprint("1"),
        fingerprint(1.0),
        fingerprint(None),
        fingerprint(tmp_path / "a"),
        fingerprint(tmp_path),
        fingerprint(nn.Linear(1, 1)),
        fingerprint(nn.Linear(1, 1)),
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")
