"""Predicted features as pictures, by linear face decoders that never learned from the person who is drawn."""

from collections.abc import Mapping

import numpy as np

from s2f.heads.ridge import Features, Fold, held_out
from s2f.models.linear_decoder import Images, LinearDecoder, Points
from s2f.study.numbers import finite


def draw(
    features: Mapping[str, Features],
    faces: Features,
    pictures: Images,
    landmarks: Points,
    read: Features,
    fold: Fold,
    components: int,
    penalty: float,
) -> dict[str, Images]:
    """Pictures of each kind of `features`, by decoders of the other folds.

    Args:
        features: what to draw, by kind, such as predictions.
        faces: features of the true faces, from which the decoders learn to draw.
        pictures: canonical pictures of the same faces.
        landmarks: of the pictures, px.
        read: features of the pictures.
        fold: the fold of each person.
        components: principal components of the texture.
        penalty: of `LinearDecoder.fit`.
    """
    drawn = {f"feature_of_{kind}": rows for kind, rows in features.items()}
    finite(face_feature=faces, picture_feature=read, landmark=landmarks, **drawn)
    images = {kind: np.empty_like(pictures) for kind in features}
    for test in held_out(fold):
        learned = faces[~test], pictures[~test], landmarks[~test], read[~test]
        decoder = LinearDecoder.fit(*learned, components, penalty)
        for kind, rows in features.items():
            images[kind][test] = decoder.draw(rows[test])
    return images
