"""Corpora in their official layouts, a dozen people each, with one fault of each kind; nobody in them exists."""

import shutil
from pathlib import Path

import av
import numpy as np
import own_data
import pandas as pd
import soundfile
from PIL import Image

from s2f.data.sources import folder
from s2f.signal.audio import SAMPLE_RATE

# Invented names, by their first letters in the splits train, val and test of `letters`.
NAMES = ["Ana_Ar", "Bea_Br", "Cora_Cr", "Dino_Dr", "Elmo_Er", "Fay_Fr", "Gus_Gr", "Hal_Hr", "Ida_Ir", "Jo_Jr", "Kai_Kr"]
LATIN_1 = b"caf\xe9"


class Toy:
    """Voices and faces of synthetic people, to be put into any layout."""

    def __init__(self, place: Path, people: int = 11):
        table = own_data.make(place, train=people - 8, val=0, test=8)
        marks = pd.read_csv(place / "landmarks.csv").set_index("photograph")
        self.sex = dict(table.drop_duplicates("speaker")[["speaker", "sex"]].itertuples(index=False, name=None))
        self.speakers = list(self.sex)
        self._place, self._marks = place, marks
        self._marked: dict[str, list] = {}

    def wave(self, person: int, take: int = 0) -> np.ndarray:
        """What a person says; float, 16 kHz, 4 s."""
        takes = sorted((self._place / "sounds").glob(f"{self.speakers[person]}-*.wav"))
        return soundfile.read(takes[take % len(takes)])[0]

    def sound(self, path: Path, person: int, take: int = 0, content: str = "") -> Path:
        """Write what a person says as WAV or, by its ending or `content`, as AAC."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if (content or path.suffix) == ".wav":
            soundfile.write(path, self.wave(person, take), SAMPLE_RATE, format="WAV", subtype="PCM_16")
        else:
            film(path, self.wave(person, take))
        return path

    def image(self, person: int, shot: int = 0) -> np.ndarray:
        """A photograph of a person."""
        return np.array(Image.open(self._place / f"photographs/{self.speakers[person]}-{shot % 2}.png"))

    def points(self, person: int, shot: int = 0) -> np.ndarray:
        """The landmarks in that photograph (68, 2; px)."""
        return self._marks.loc[f"photographs/{self.speakers[person]}-{shot % 2}.png"].to_numpy(float).reshape(68, 2)

    def picture(self, root: Path, name: str, person: int, shot: int = 0) -> Path:
        """Write a photograph as JPEG, and keep its landmarks for `landmarks`."""
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.image(person, shot)).save(root / name, quality=95)
        self.mark(root, name, self.points(person, shot))
        return root / name

    def mark(self, root: Path, name: str, points: np.ndarray) -> None:
        self._marked.setdefault(str(root), []).append([name, *points.ravel().round(2)])

    def landmarks(self, root: Path) -> Path:
        """The table of the landmarks in the pictures below a folder."""
        rows = self._marked[str(root)]
        pd.DataFrame(rows, columns=["photograph", *folder.COORDINATES]).to_csv(root / "landmarks.csv", index=False)
        return root / "landmarks.csv"


def film(path: Path, wave: np.ndarray | None, frames: np.ndarray | None = None) -> None:
    """Write AAC sound, video, or both, in the container that the ending names (m4a where it names none)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flash = path.suffix == ".flv"
    with av.open(str(path), "w", format="flv" if flash else "mp4") as container:
        sound = None if wave is None else container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        if frames is not None:
            video = container.add_stream("flv1" if flash else "mpeg4", rate=25, options={"qscale": "1"})
            video.height, video.width, video.pix_fmt = *frames.shape[1:3], "yuv420p"
            for image in frames:
                container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(video.encode(None))
        if sound is not None:
            samples = np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)[None]
            block = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            block.sample_rate = SAMPLE_RATE
            container.mux(sound.encode(block))
            container.mux(sound.encode(None))


def cut(path: Path, share: float = 0.5) -> Path:
    """Leave the first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: round(share * len(content))])
    return path


def voxceleb(root: Path, toy: Toy) -> dict[str, str]:
    """VoxCeleb 1 (wav, crops) and 2 (m4a, VGGFace by name).

    Returns:
        Words that the reason of each planted fault has, by a part of its item.
    """
    tables, voices, faces = (root / name for name in ("tables", "voices", "faces"))
    tables.mkdir(parents=True)
    one, two = range(0, 6), range(6, 11)
    rows = ["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"]
    for person in one:
        where = "test" if person in (4, 5) else "dev"
        rows.append(f"id1000{person}\t{NAMES[person]}\t{toy.sex[toy.speakers[person]].lower()}\tNowhere\t{where}")
    rows += [rows[1], "id10009\tOnly_One"]  # a doubled id, and a row that ends early
    (tables / "vox1_meta.csv").write_bytes("\r\n".join(rows).encode())
    rows = ['"VoxCeleb2 ID " , "VGGFace2 ID ","Gender ","Set "']
    for person in two:
        where = "test " if person == 9 else "dev "
        if person < 10:  # the last has no row
            rows.append(f' id{person:05d} ,"n{person:06d} " ,{toy.sex[toy.speakers[person]].lower()} ,{where}')
    (tables / "vox2_meta.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")

    for person in one:
        for take, video in enumerate(("aaaaaaaaaaa", "bbb-bbbb_bb")):
            toy.sound(voices / f"wav/id1000{person}/{video}/00001.wav", person, take)
            toy.picture(faces, f"unzippedFaces/{NAMES[person]}/1.6/{video}/0000025.jpg", person, take)
    for person in two:
        toy.sound(voices / f"dev/aac/id{person:05d}/ccccccccccc/00001.m4a", person)
        for shot in (0, 1):
            toy.picture(faces, f"VGGFace2/n{person:06d}/0001_0{shot}.jpg", person, shot)

    cut(toy.sound(voices / "wav/id10000/aaaaaaaaaaa/00002.wav", 0))
    toy.sound(voices / "wav/id10001/aaaaaaaaaaa/00002.wav", 1, content=".m4a")
    (voices / "dev/aac/id00006/ccccccccccc/00002.m4a").touch()
    cut(toy.sound(voices / "dev/aac/id00006/ccccccccccc/00003.m4a", 6))
    shutil.copytree(voices / "wav/id10002/aaaaaaaaaaa", voices / "again/id10002/aaaaaaaaaaa")
    (faces / "VGGFace2/n000007/0002_01.jpg").touch()
    (voices / "wav/id10003/aaaaaaaaaaa" / LATIN_1.decode("utf-8", "surrogateescape")).with_suffix(".wav").touch()
    return {
        "wav/id10000/aaaaaaaaaaa/00002.wav": "cut off",
        "wav/id10001/aaaaaaaaaaa/00002.wav": "its content is m4a",
        "id00006/ccccccccccc/00002.m4a": "empty",
        "id00006/ccccccccccc/00003.m4a": "not audio",
        "wav/id10002/aaaaaaaaaaa/00001.wav": "the same clip",
        "n000007/0002_01.jpg": "empty",
        "caf": "not UTF-8",
        "id00010": "no usable row of the metadata",
        "n000010": "no usable row of the metadata",
        "vox1_meta.csv, row 8": "earlier row",
        "vox1_meta.csv, row 9": "2 cells under 5 columns",
    }
