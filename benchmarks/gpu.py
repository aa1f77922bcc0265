"""`python benchmarks/gpu.py PAGE`: the training at the paper's size on a GPU, as a table between marks in PAGE.

What is timed is `training.voice.train_voice_encoder` as a study calls it: packed 16-bit clips on a disk, random crops,
their way to the GPU, spectrograms, forward, loss, backward and Adam; Table 1's network, 6 s, features of 4096 numbers.
Beside it stand the parts of it alone, a measured ceiling, and the same step done in other ways. `--tiny` does all that
with a small network, also on the CPU: it shows that the program runs, and its numbers mean nothing.
"""

import argparse
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from s2f.data.batches import cropped, rows_of
from s2f.data.shards import Shards, ShardWriter
from s2f.models import face_decoder, face_encoder, fused
from s2f.models.inference import VoiceModel
from s2f.models.losses import feature_l1
from s2f.models.voice_encoder import VoiceEncoder
from s2f.signal.audio import SAMPLE_RATE
from s2f.signal.spectrograms import spectrograms
from s2f.study import config
from s2f.study.paths import replacing
from s2f.study.precision import fast_dtype
from s2f.training import voice

BEGIN, END = "<!-- gpu: begin -->", "<!-- gpu: end -->"
CLIP_STEPS = 5.1e6  # of the paper: three epochs over the 1.7 million clips of AVSpeech
AIM = 950  # clips/s on an H200
WARM_UP = 6  # steps


class Bench:
    """What all measurements share: the device, the sizes, the clips on the disk, and how much time is left."""

    def __init__(self, folder: Path, tiny: bool, minutes: float):
        self.ends = time.monotonic() + 60 * minutes
        if tiny:
            torch.set_num_threads(1)
        self.tiny, self.folder = tiny, folder
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = fast_dtype(self.device)
        self.seconds, self.clips_on_disk = (1.0, 40) if tiny else (6.0, 4096)
        self.batches = (2, 4, 8) if tiny else (8, 64, 256)
        self.middle = self.batches[1]
        self.results: dict[str, object] = {}
        self.failed: list[str] = []
        draw = np.random.default_rng(0)
        length = round(1.1 * self.seconds * SAMPLE_RATE)
        rows = []
        with ShardWriter(folder / "audio", "all", 2**27) as writer:
            for clip in range(self.clips_on_disk):
                shard, offset = writer.append(draw.integers(-3000, 3000, length, np.int16))
                split = "val" if clip < self.batches[0] else "train"
                rows.append((f"c{clip}", f"s{clip}", split, shard, offset, length, clip))
        columns = ["clip_id", "speaker_id", "split", "audio_shard", "audio_offset", "audio_samples", "face"]
        self.clips = pd.DataFrame(rows, columns=columns).astype({"face": "Int64"})
        self.shards = Shards(folder / "audio")
        # The loss reads only the last layer of the face encoder and the first of the decoder.
        faces = face_encoder.VGG_FACE.model_copy(update={"blocks": ((8,),) * 5})
        draws = face_decoder.PAPER
        if tiny:
            faces, draws = face_encoder.small(8, 32), face_decoder.SMALL
        torch.manual_seed(0)
        self.face_encoder, self.face_decoder = face_encoder.FaceEncoder(faces), face_decoder.FaceDecoder(draws)
        self.features = draw.standard_normal((self.clips_on_disk, faces.feature_dim), np.float32)
        self.config = voice.SIZES["small" if tiny else "paper"].model_copy(update={"feature_dim": faces.feature_dim})

    def settings(self, batch: int, steps: int) -> config.Train:
        """The paper's training, of few steps."""
        return config.Train(
            seed=3, model="small" if self.tiny else "paper", batch_norm=True, loss="paper", seconds=self.seconds,
            degraded=0.0, steps=steps, batch=batch, rate=0.001, schedule="steps", decay=0.95, decay_every=10_000,
            beta1=0.5, epsilon=1e-4, rebalance_step=2, validate_every=steps, checkpoint_minutes=1e6, precision="auto",
            threads=1 if self.tiny else 8,
        )  # fmt: skip

    def train(self, name: str, batch: int, clock: "Clock", fast: bool, parts: int = 1) -> pd.DataFrame:
        """One call of `train_voice_encoder`, whose steps `clock` sees; its curve."""
        cfg = self.settings(batch, clock.steps)
        scale = config.Scale(processes=1, parts=parts, readers=2, fused=fast)
        place = self.folder / name
        with mock.patch.object(voice, "exponential", lambda *_: clock.learning_rate):
            voice.train_voice_encoder(
                self.clips, self.shards, self.features, self.face_encoder, self.face_decoder, cfg,
                device=self.device, scale=scale, checkpoint=place, log=place / "curve.csv",
            )  # fmt: skip
        return pd.read_csv(place / "curve.csv")

    def wait(self) -> None:
        """Until the GPU has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds_of(self, work: Callable[[], object], repeats: int, rehearsals: int = 3) -> float:
        """Seconds that `work` takes when it is done again and again."""
        for _ in range(rehearsals):
            work()
        self.wait()
        start = time.perf_counter()
        for _ in range(repeats):
            work()
        self.wait()
        return (time.perf_counter() - start) / repeats

    def note(self, name: str, work: Callable[[], object], case: str | None = None) -> None:
        """Enter what `work` returns into the results, unless time is up; one that fails costs no other."""
        if time.monotonic() > self.ends:
            return
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        start = time.monotonic()
        try:
            found = work()
        except (RuntimeError, ValueError) as error:
            found = None
            self.failed.append(f"{name} {case or ''}: {type(error).__name__}, {str(error)[:300]}".replace("\n", " "))
            print(self.failed[-1], file=sys.stderr, flush=True)
        if case is None:
            self.results[name] = found
        else:
            self.results.setdefault(name, {})[case] = found
        print(f"{name} {case or ''}: {found} in {time.monotonic() - start:.1f} s", flush=True)


class Clock:
    """Times steps of a training, which asks for the learning rate at the beginning of each; may stop it there."""

    def __init__(self, bench: Bench, steps: int, stop_at: int | None = None):
        self.bench, self.steps, self.stop_at = bench, steps, stop_at
        self.at: dict[int, float] = {}

    def learning_rate(self, step: int) -> float:
        if step in (WARM_UP, self.steps - 1) and step not in self.at:
            self.bench.wait()
            self.at[step] = time.perf_counter()
        if step == self.stop_at:
            self.stop_at = None
            signal.raise_signal(signal.SIGTERM)
        return 1e-4

    def step_seconds(self) -> float:
        """Mean of the steps after the warm-up."""
        return (self.at[self.steps - 1] - self.at[WARM_UP]) / (self.steps - 1 - WARM_UP)


def ceilings(bench: Bench) -> dict[str, float]:
    """Rate of a large matrix product (FLOP/s) and of a copy (bytes/s, read and written)."""
    size = 256 if bench.tiny else 8192
    a, b = torch.randn(2, size, size, device=bench.device, dtype=bench.dtype)
    source = torch.ones(2**20 if bench.tiny else 2**31, dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    return {
        "matmul": 2 * size**3 / bench.seconds_of(lambda: a @ b, 20),
        "copy": 2 * len(source) / bench.seconds_of(lambda: target.copy_(source), 10),
    }


def flops(bench: Bench) -> float:
    """FLOP of forward and backward for one clip: convolutions and matrix products."""
    with torch.device("meta"):
        model = VoiceEncoder(bench.config)
        frames = torch.empty(1, 2, round(100 * bench.seconds) - 2, 257)
    with FlopCounterMode(display=False) as counter:
        model.eval()(frames).sum().backward()
    return counter.get_total_flops()


def data_alone(bench: Bench, batch: int) -> float:
    """Clips/s of crops from the packed shards, on one core."""
    train = bench.clips[bench.clips["split"] == "train"].reset_index(drop=True)
    steps = iter(range(10**6))

    def read():
        step = next(steps)
        rows = rows_of(step, batch, len(train), 3)
        return cropped(bench.shards, train.iloc[rows], round(bench.seconds * SAMPLE_RATE), np.random.default_rng(step))

    return batch / bench.seconds_of(read, 5 if bench.tiny else 40)


def training(bench: Bench, batch: int) -> dict[str, float]:
    """The whole loop at a batch size; what is larger than the middle one is computed in parts of that size."""
    clock = Clock(bench, 10 if bench.tiny else max(24, 12_000 // (batch + 40)))
    bench.train(f"whole-{batch}", batch, clock, fast=True, parts=max(batch // bench.middle, 1))
    peak = torch.cuda.max_memory_allocated() / 2**30 if bench.device.type == "cuda" else np.nan
    return {"clips_per_second": batch / clock.step_seconds(), "gib": peak}


def resumed(bench: Bench, fast: bool) -> dict[str, float]:
    """Losses of a training in one go, and of the same training stopped half-way and resumed."""
    steps = 12
    whole = bench.train(f"whole-{fast}", bench.batches[0], Clock(bench, steps), fast)
    try:
        bench.train(f"stopped-{fast}", bench.batches[0], Clock(bench, steps, stop_at=steps // 2), fast)
    except KeyboardInterrupt:
        pass
    again = bench.train(f"stopped-{fast}", bench.batches[0], Clock(bench, steps), fast)
    return {"whole": float(whole["loss"].iloc[-1]), "resumed": float(again["loss"].iloc[-1])}


def extraction(bench: Bench) -> float:
    """Clips/s from packed clips to features, by the inference of the notebooks."""
    clips = bench.clips.iloc[: bench.clips_on_disk // 4]
    model = VoiceModel.fast(VoiceEncoder(bench.config), bench.middle)
    return len(clips) / bench.seconds_of(lambda: model.clip_features(bench.shards, clips, bench.seconds), 2, 1)


class Step:
    """One training step on a batch that lies on the device already, done in one of several ways."""

    def __init__(
        self, bench: Bench, batch: int, way: str = "fused", *, channels_last: bool = True, fused_adam: bool = True,
        dtype: torch.dtype = torch.float32, graphs: bool = False,
    ):  # fmt: skip
        self.bench, self.batch = bench, batch
        layout = torch.channels_last if channels_last else torch.contiguous_format
        torch.manual_seed(0)
        self.model = VoiceEncoder(bench.config).to(bench.device, dtype, memory_format=layout).train()
        how = {"fused": True} if fused_adam else {"foreach": False}
        self.adam = torch.optim.Adam(self.model.parameters(), lr=1e-4, betas=(0.5, 0.999), eps=1e-4, **how)
        samples = round(bench.seconds * SAMPLE_RATE)
        self.waves = torch.randint(-3000, 3000, (batch, samples), dtype=torch.int16, device=bench.device)
        self.v_f = torch.randn(batch, bench.config.feature_dim, device=bench.device)
        plain = torch.compile(self.model, dynamic=False) if way == "compiled" else self.model
        trainer = fused.Trainer(bench.dtype)
        if graphs:
            trainer.capture(self.model, self.waves)

        def plainly(_model, waves, _precision):
            with torch.autocast(bench.device.type, torch.bfloat16, enabled=dtype != bench.dtype):
                return plain(spectrograms(waves))

        self.predict = trainer if way == "fused" else plainly

    def __call__(self) -> torch.Tensor:
        self.adam.zero_grad()
        loss = feature_l1(self.predict(self.model, self.waves, ""), self.v_f)
        loss.backward()
        self.adam.step()
        return loss.detach()

    def clips_per_second(self) -> float:
        repeats = 1 if self.bench.tiny else max(8, 1500 // (self.batch + 30))
        return self.batch / self.bench.seconds_of(self, repeats, 1 if self.bench.tiny else 3)


@contextmanager
def kernels(benchmark: bool = True, repeatable: bool = False, fill: bool = False):
    """Which kernels torch takes: timed ones or guessed ones, any or those that repeat themselves."""
    torch.backends.cudnn.benchmark = benchmark
    torch.use_deterministic_algorithms(repeatable, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = fill
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = False


def shares(bench: Bench) -> dict[str, float]:
    """Milliseconds of a step by kind of kernel."""
    step = Step(bench, bench.middle)
    bench.seconds_of(step, 2)
    kinds = {
        "convolutions and matrix products": ("xmma", "gemm", "cutlass", "nvjet", "conv"),
        "fused blocks": ("_forward_kernel", "_backward_kernel"),
        "Adam": ("multi_tensor",),
    }
    total = dict.fromkeys([*kinds, "the rest"], 0.0)
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CPU, activity.CUDA]) as profile:
        step()
        bench.wait()
    for event in profile.key_averages():
        on_device = event.device_type == torch.autograd.DeviceType.CUDA
        if on_device and event.self_device_time_total > 0:
            kind = next((kind for kind, words in kinds.items() if any(word in event.key for word in words)), "the rest")
            total[kind] += event.self_device_time_total / 1000
    return total


# Ways of doing the same step: name, batch (the smallest or the middle one), how, kernels.
SMALLEST, MIDDLE, LARGEST = 0, 1, 2
WAYS: list[tuple[str, int, dict, dict]] = [
    ("fused blocks", MIDDLE, {}, {}),
    ("fused blocks, graphs", SMALLEST, {"graphs": True}, {}),
    ("plain, as on a CPU: repeatable kernels", MIDDLE, {"way": "plain"}, {"benchmark": False, "repeatable": True}),
    ("plain, timed kernels", MIDDLE, {"way": "plain"}, {}),
    ("fused blocks, without graphs", SMALLEST, {}, {}),
    ("plain, timed kernels (small batch)", SMALLEST, {"way": "plain"}, {}),
    ("fused blocks, repeatable kernels", MIDDLE, {}, {"repeatable": True}),
    ("fused blocks, kernels not timed", MIDDLE, {}, {"benchmark": False}),
    ("fused blocks, new memory filled with NaN", MIDDLE, {}, {"repeatable": True, "fill": True}),
    ("fused blocks, Adam weight by weight", MIDDLE, {"fused_adam": False}, {}),
    ("plain, weights in bfloat16", MIDDLE, {"way": "plain", "dtype": torch.bfloat16}, {}),
    ("plain, not channels last", MIDDLE, {"way": "plain", "channels_last": False}, {}),
    ("fused blocks, largest batch at once", LARGEST, {}, {}),
    ("plain, compiled", MIDDLE, {"way": "compiled"}, {}),
]


def measure(bench: Bench) -> None:
    """All measurements, the most important first."""

    def ways(some):
        for name, place, how, chosen in some:
            with kernels(**chosen):
                bench.note("ways", lambda: Step(bench, bench.batches[place], **how).clips_per_second(), name)  # noqa: B023

    bench.note("ceilings", lambda: ceilings(bench))
    bench.note("flops", lambda: flops(bench))
    for batch in sorted(bench.batches, key=lambda batch: batch != bench.middle):
        bench.note("data", lambda: data_alone(bench, batch), str(batch))  # noqa: B023
        bench.note("training", lambda: training(bench, batch), str(batch))  # noqa: B023
    ways(WAYS[:2])
    with kernels():
        bench.note("shares", lambda: shares(bench))
    bench.note("resumed, repeatable", lambda: resumed(bench, fast=False))
    bench.note("extraction", lambda: extraction(bench))
    bench.note("resumed", lambda: resumed(bench, fast=True))
    ways(WAYS[2:-1] if bench.tiny else WAYS[2:])  # to compile on a CPU takes minutes


def table(bench: Bench, device: str) -> str:
    """The measurements in Markdown."""
    results, batches = bench.results, bench.batches
    top, flop = results["ceilings"]["matmul"], results["flops"]
    lines = [
        f"{device}, torch {torch.__version__}, {date.today()}. Measured in the same call: {top / 1e12:.0f} TFLOP/s of "
        "a matrix product in bfloat16 (8192 x 8192 x 8192), "
        f"{results['ceilings']['copy'] / 1e12:.2f} TB/s of a copy. A clip takes {flop / 1e9:.0f} GFLOP both ways.",
        "",
        "| batch | whole loop | TFLOP/s | share of the product's | 5.1 million clips | memory | reading, one core |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for batch in map(str, batches):
        found = results.get("training", {}).get(batch)
        if found is None:
            lines.append(f"| {batch} | not measured | | | | | |")
            continue
        rate = found["clips_per_second"]
        lines.append(
            f"| {batch} | {rate:,.0f} clips/s | {rate * flop / 1e12:.0f} | {rate * flop / top:.0%} | "
            f"{CLIP_STEPS / rate / 3600:.2f} h | {found['gib']:.1f} GiB | {results['data'][batch]:,.0f} clips/s |"
        )
    best = max((found["clips_per_second"] for found in results.get("training", {}).values() if found), default=0)
    lines += ["", f"Aim on an H200: {AIM} clips/s; here {best:,.0f}."]
    if shares := results.get("shares"):
        total = sum(shares.values()) or 1
        parts = ", ".join(f"{name} {part:.1f} ms ({part / total:.0%})" for name, part in shares.items())
        lines.append(f"Of a step at batch {bench.middle} the GPU spends on: {parts}.")
    if extracted := results.get("extraction"):
        lines.append(f"Features of packed clips: {extracted:,.0f} clips/s.")
    for name, kind in (("resumed, repeatable", "plain and repeatable"), ("resumed", "fused")):
        if found := results.get(name):
            whole, again = found["whole"], found["resumed"]
            same = "the same to all digits" if whole == again else f"{abs(again / whole - 1):.1e} apart"
            lines.append(f"Stopped half-way and resumed ({kind}): loss {again:.6g}, in one go {whole:.6g}: {same}.")
    lines += ["", "| one step, on the device alone | batch | clips/s |", "|---|---:|---:|"]
    for name, place, *_ in WAYS:
        rate = results.get("ways", {}).get(name)
        lines.append(f"| {name} | {batches[place]} | {'not measured' if rate is None else f'{rate:,.0f}'} |")
    return "\n".join(lines + [f"Failed: {why}" for why in bench.failed])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("page", type=Path, help="a page with the two marks")
    arguments.add_argument("--tiny", action="store_true", help="a small network, also on the CPU")
    arguments.add_argument("--minutes", type=float, default=11.0, help="begin no measurement after so long")
    options = arguments.parse_args()
    if not (options.tiny or torch.cuda.is_available()):
        sys.exit("s2f: torch finds no GPU here, so nothing is measured; --tiny shows on the CPU that the program runs.")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of operations without a repeatable kernel, time and again
        bench = Bench(Path(folder), options.tiny, options.minutes)
        measure(bench)
    device = torch.cuda.get_device_name() if bench.device.type == "cuda" else "CPU, tiny"
    before, rest = options.page.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    lines = table(bench, device)
    with replacing(options.page) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{lines}\n{END}{after}", encoding="utf-8")
    print(lines)


if __name__ == "__main__":
    main()
