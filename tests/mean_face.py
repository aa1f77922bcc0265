"""A plain face to move about, for the tests of the warp and of the face decoder."""

import numpy as np
import torch


def mean_face(size):
    """A plain face in iBUG order: jaw, brows, nose, eyes, outer and (closed) inner lips."""

    def arc(start, end, count, centre, radii):
        turn = np.linspace(start, end, count, endpoint=end != start - 2 * np.pi)
        return np.asarray(centre) + np.asarray(radii) * np.c_[np.cos(turn), np.sin(turn)]

    pi = np.pi
    parts = [
        arc(pi, 0, 17, (0.5, 0.45), (0.33, 0.42)),
        arc(pi, 2 * pi, 5, (0.35, 0.34), (0.10, 0.03)),
        arc(pi, 2 * pi, 5, (0.65, 0.34), (0.10, 0.03)),
        np.c_[np.full(4, 0.5), np.linspace(0.40, 0.55, 4)],
        arc(pi, 0, 5, (0.5, 0.59), (0.07, 0.02)),
        arc(pi, -pi, 6, (0.35, 0.41), (0.05, 0.018)),
        arc(pi, -pi, 6, (0.65, 0.41), (0.05, 0.018)),
        arc(pi, -pi, 12, (0.5, 0.72), (0.11, 0.04)),
        arc(pi, -pi, 8, (0.5, 0.72), (0.08, 0.003)),
    ]
    return torch.from_numpy(size * np.concatenate(parts)).float()
