"""Clones of the published samples with invented names and empty files, and samples with planted features."""

import numpy as np
import pandas as pd

from s2f.data.sources import published

VIDEOS = ("abcdefghijk", "-bc_efghij-", "zbcdefghijk")


def clone(root, stems, folder="avspeech_res", suffix=".wav", leave_out=()):
    """A clone with empty files of these names."""
    for kind in ("Wav", *published.FACES.values()):
        if kind not in leave_out:
            place = root / "figures" / folder / kind
            place.mkdir(parents=True)
            for stem in stems:
                (place / f"{stem}{suffix if kind == 'Wav' else '.jpg'}").touch()
    for stray in ("index.html", "loss.txt", "figure.ai", "paper.pdf", "ids.pkl", "montage.jpg", "sound.wav"):
        (root / "figures" / folder / stray).touch()
    (root / "figures" / folder / "IDs.txt").write_text("\n".join([*stems, "another"]))
    return root


def avspeech(root, **changes):
    stems = [f"{video}_{start:010.6f}-{start + 4.5:010.6f}" for video, start in zip(VIDEOS, (5, 50, 7), strict=True)]
    return clone(root, [*stems, f"{VIDEOS[0]}_300.000000-309.000000"], **changes)


CELEBRITIES = [f"1134Somebody_J._Else_abcdefghijk_000000{number}" for number in (1, 2)] + [
    "0041No_One_bbcdefghijk_0000001"
]
ASSISTANTS = ["1145Zz_Siri_abcdefghijk_001.000000-004.000000", "1145Zz_Google_1_google", "1145Zz_Siri_2_siri"]


def voxceleb(root, **changes):
    """Celebrities and assistants in one folder, as the authors have them."""
    return clone(root, [*CELEBRITIES, *ASSISTANTS], folder="voxceleb", **changes)


def samples(rng, people=40, clips=2, dim=6, mean=False):
    """Samples with planted features: what is drawn keeps half of the true face."""
    person = np.repeat(np.arange(people), clips)
    true = rng.normal(size=(len(person), dim))
    arrays = {"true.feature": true, "6s.voice": true + rng.normal(size=true.shape)}
    for kind in ("true", "f2f", "exg0"):
        arrays |= {f"{kind}.age": rng.uniform(15, 70, len(person)), f"{kind}.female": rng.random(len(person))}
        arrays |= {f"{kind}.landmarks": rng.uniform(0, 200, (len(person), 68, 2))}
        arrays |= {f"{kind}.skin": rng.normal(40, 10, (len(person), 2))}
    arrays |= {"f2f.feature": true + 0.1 * rng.normal(size=true.shape), "exg0.feature": 0.5 * true}
    labels = dict.fromkeys(published.COLUMNS) | {"video": person, "person": person, "seconds": 5.0}
    table = pd.DataFrame(labels)
    return published.Samples(table, arrays, mean)
