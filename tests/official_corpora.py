"""Corpora in their official layouts, a dozen people each, with one fault of each kind; nobody in them exists."""

import os
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


def avspeech(root: Path, toy: Toy) -> dict[str, str]:
    """AVSpeech: clips as video, or as sound and a picture; one with two faces. Returns as `voxceleb`."""
    tables, clips = root / "tables", root / "clips"
    tables.mkdir(parents=True)
    rows = {"train": [], "test": []}
    for person in range(8):
        video, table = f"vid{person:02d}_-{'x' * 4}", "test" if person > 5 else "train"
        rows[table].append(f' {video} , 12.500000 ,"18.250000",0.5,0.5 ')
        rows[table].append(f"{video},30.04,35.0,0.500000,0.500000")
        picture(clips / f"{video}_012.500000-018.250000.mp4", toy, person, root)
        toy.sound(clips / f"{video}_30.04.wav", person, 1)
        toy.picture(clips, f"{video}_30.04.jpg", person, 1)
    rows["train"] += [rows["train"][0], "vid00_-xxxx,90.0,80.0,0.5,0.5", "caf\u00e9,1,2,0.5,0.5", rows["test"][0]]
    # A clip of two people side by side, of whom the right one speaks; and one where nobody is at the point.
    pair = np.concatenate([toy.image(1), toy.image(2)], axis=1)
    beside = toy.points(2) + np.array([len(toy.image(1)), 0])
    for start, point in (("50.0", "0.75,0.5"), ("60.0", "0.5,0.02")):
        rows["train"].append(f"vid02_-xxxx,{start},68.5,{point}")
        film(clips / f"vid02_-xxxx_{start}.mp4", toy.wave(2), pair[None].repeat(3, axis=0))
        for points in (toy.points(1), beside):
            toy.mark(clips, f"vid02_-xxxx_{start}.mp4", points)
    for start in ("100.0", "110.0", "120.0"):
        rows["train"].append(f"vid03_-xxxx,{start},128.0,0.5,0.5")
    film(clips / "vid03_-xxxx_100.0.mp4", None, toy.image(3)[None].repeat(3, axis=0))  # a video without sound
    toy.mark(clips, "vid03_-xxxx_100.0.mp4", toy.points(3))
    toy.sound(clips / "vid03_-xxxx_110.0.wav", 3)  # no frame
    cut(picture(clips / "vid03_-xxxx_120.0.mp4", toy, 3, root))
    toy.sound(clips / "vid04_-xxxx_7.0.wav", 4)  # no row
    toy.sound(clips / "holiday.wav", 4)
    for table, lines in rows.items():
        (tables / f"avspeech_{table}.csv").write_bytes("\r\n".join(lines).encode("latin-1"))
    return {
        "avspeech_train.csv, row 13": "earlier row",
        "avspeech_train.csv, row 14": "later end",
        "avspeech_train.csv, row 15": "no video, start",
        "vid06_-xxxx": "both tables",
        "vid03_-xxxx_100.0.mp4": "no sound track",
        "vid03_-xxxx_110.0.wav": "no frame",
        "vid03_-xxxx_120.0.mp4": "not audio",
        "vid04_-xxxx_7.0.wav": "no usable row",
        "holiday.wav": "not named",
    }


def picture(path: Path, toy: Toy, person: int, root: Path) -> Path:
    """A video in which a person speaks."""
    film(path, toy.wave(person), toy.image(person)[None].repeat(3, axis=0))
    toy.mark(path.parent, path.name, toy.points(person))
    return path


def crema_d(root: Path, toy: Toy) -> dict[str, str]:
    """CREMA-D: wav and Flash by actors. Returns as `voxceleb`."""
    tables, voices, faces = (root / name for name in ("tables", "AudioWAV", "VideoFlash"))
    for folder_ in (tables, voices, faces):
        folder_.mkdir(parents=True)
    rows = ['"ActorID","Age","Sex","Race","Ethnicity"']
    for person in range(9):
        sex = {"F": "Female", "M": "Male"}[toy.sex[toy.speakers[person]]]
        rows.append(f'{1001 + person}, {20 + person} ,"{sex}" ,"Group, of some","Not Hispanic"')
        for take, emotion in enumerate(("ANG_XX", "NEU_XX")):
            toy.sound(voices / f"{1001 + person}_IEO_{emotion}.wav", person, take)
            film(faces / f"{1001 + person}_IEO_{emotion}.flv", None, toy.image(person, take)[None].repeat(2, axis=0))
            toy.mark(faces, f"{1001 + person}_IEO_{emotion}.flv", toy.points(person, take))
    rows += ['1003,99,"Male","Other","Hispanic"', "", '1020,old,"Female","Other","Hispanic"']
    (tables / "VideoDemographics.csv").write_bytes("\r\n".join(rows).encode())
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (voices / "1001_TIE_SAD_X.wav").write_text(pointer, encoding="utf-8")
    (voices / "1002_TIE_SAD_HI.wav").write_bytes(b"")
    soundfile.write(voices / "1002_TIE_SAD_LO.wav", np.zeros(3 * SAMPLE_RATE), SAMPLE_RATE)
    toy.sound(voices / "1050_TIE_SAD_LO.wav", 4)
    toy.sound(voices / "1004_tie_sad.wav", 4)
    return {
        "VideoDemographics.csv, row 4": "contradict",
        "VideoDemographics.csv, row 11": "contradict",
        "VideoDemographics.csv, row 13": "the age of 1020",
        "1003": "no usable row",
        "1050": "no usable row",
        "1001_TIE_SAD_X.wav": "Git LFS",
        "1002_TIE_SAD_HI.wav": "empty",
        "1002_TIE_SAD_LO.wav": "silent",
        "1004_tie_sad.wav": "not named",
    }


def mav_celeb(root: Path, toy: Toy) -> dict[str, str]:
    """MAV-Celeb v1: two languages of each person, and a test set. Returns as `voxceleb`."""
    tables, voices, faces = (root / name for name in ("tables", "voices", "faces"))
    tables.mkdir(parents=True)
    rows = ["ids,name,gender"]
    for person in range(8):
        rows.append(f"id{person:04d},{NAMES[person]},{'Male' if toy.sex[toy.speakers[person]] == 'M' else 'Female'}")
        for take, language in enumerate(("English", "Urdu")):
            toy.sound(voices / f"id{person:04d}/{language}/aaa/00000.wav", person, take)
            toy.picture(faces, f"id{person:04d}/{language}/aaa/0000{take}00.jpg", person, take)
    (tables / "v1_meta.csv").write_text("\n".join([*rows, rows[1]]), encoding="utf-8-sig")
    for number in range(3):
        toy.sound(voices / f"English/0000{number}.wav", number)
    cut(toy.sound(voices / "id0002/Urdu/aaa/00001.wav", 2))
    toy.sound(voices / "id0009/Urdu/aaa/00001.wav", 2)
    toy.sound(voices / "id0002/00001.wav", 2)
    return {
        "v1_meta.csv, row 10": "earlier row",
        "id0002/Urdu/aaa/00001.wav": "cut off",
        "id0009": "no picture",
        "id0002/00001.wav": "does not lie in",
    }


def hostile(root: Path, outside: Path) -> dict[str, str]:
    """Put into a folder what no corpus should hold; the reason that goes with each."""
    root.mkdir(parents=True)
    os.mkfifo(root / "pipe.wav")
    (root / "away.wav").symlink_to(outside / "secret.wav")
    (root / "nowhere.wav").symlink_to("missing.wav")
    (root / "loop").symlink_to(root)
    (root / "etc").symlink_to(outside)
    (root / "plain.wav").write_bytes(b"RIFF")
    (root / "alias.WAV").symlink_to("plain.wav")
    (root / "._plain.wav").touch()
    (root / "new\nline.wav").touch()
    return {
        "pipe.wav": "a pipe or a device",
        "away.wav": "leads out of the folder",
        "nowhere.wav": "or nowhere",
        "loop": "a link to a folder",
        "etc": "a link to a folder",
        "new\nline.wav": "rename it",
    }
