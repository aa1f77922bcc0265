"""A toy corpus as a user would bring it: a table, WAV and PNG files, and a table of landmarks; nobody in it exists."""

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch

from s2f.data.sources import folder, synthetic
from s2f.signal import images
from s2f.signal.audio import SAMPLE_RATE
from s2f.study import config
from s2f.synthetic import people, render

TINY = Path(__file__).parent / "tiny" / "params.yaml"
SIZE = 96  # px


def make(place: Path, **speakers: int) -> pd.DataFrame:
    """Write recordings.csv, landmarks.csv and the files they name into `place`.

    `speakers` of each split: train, val, test. Each speaks once, in the test split twice, and has two photographs.
    """
    world = config.load(config.World, TINY).model_copy(update={f"{split}_speakers": n for split, n in speakers.items()})
    everybody = people.everybody(world)
    everybody = everybody[everybody["split"] != "face"].reset_index(drop=True)
    for name in ("sounds", "photographs"):
        (place / name).mkdir(parents=True)
    marked = []
    for number, smile in enumerate((0.0, 0.3)):
        plain = render.sample_nuisance(len(everybody), torch.Generator().manual_seed(1), 0.0)
        drawn = render.render(
            people.identity(everybody), plain | {"smile": torch.full((len(everybody),), smile)}, size=SIZE
        )
        pictures = (drawn.image * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
        for speaker, picture, points in zip(everybody["speaker_id"], pictures, drawn.landmarks.numpy(), strict=True):
            images.save_png(picture, place / f"photographs/{speaker}-{number}.png")
            marked.append([f"photographs/{speaker}-{number}.png", *points.ravel().round(2)])
    pd.DataFrame(marked, columns=["photograph", *folder.COORDINATES]).to_csv(place / "landmarks.csv", index=False)
    spoken = synthetic.speech_block(everybody, clips=2, seconds=4.0, spread=0.3, seed=1)["audio"]
    rows = []
    for index, speaker in everybody.iterrows():
        name = speaker["speaker_id"]
        for clip in range(2 if speaker["split"] == "test" else 1):
            soundfile.write(place / f"sounds/{name}-{clip}.wav", np.asarray(spoken[2 * index + clip]), SAMPLE_RATE)
            rows.append(
                {
                    "sound": f"sounds/{name}-{clip}.wav",
                    "speaker": name,
                    "photographs": f"photographs/{name}-0.png;photographs/{name}-1.png",
                    "split": speaker["split"],
                    "sex": speaker["sex"],
                    "age": round(speaker["age"]),
                }
            )
    table = pd.DataFrame(rows)
    table.to_csv(place / "recordings.csv", index=False)
    return table
