"""A parametric human head for the renderer, as a signed distance function in mm.

Head frame: x to the right of the image, y up, z towards the viewer; y = 0 is the eye line, z = 0 the plane of the ears.
The head is a loft of smoothed cross sections from chin to vertex with a relief map, joined to further parts by a smooth
minimum. It is symmetric: most functions take `ax`, which is |x|. Tensors are [batch, 1] or [batch, points].
"""

from collections import namedtuple
from dataclasses import dataclass, make_dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Scalar = Tensor | float | int
Values = Float[Tensor, "batch 1"]
Points = Float[Tensor, "#batch #points"]


class Parameter(NamedTuple):
    """Mean of each sex, standard deviation within a sex, and the range in which the geometry is valid."""

    female: float
    male: float
    sd: float
    low: float
    high: float


# Means and standard deviations follow Farkas' North American series, the latter plus 15 % for a mixed population.
PARAMETERS: dict[str, Parameter] = {
    # outline (mm): n-gn, n-tr, zy-zy, eu-eu, go-go
    "face_h": Parameter(112, 121, 5.5, 92, 142), "forehead_h": Parameter(62, 66, 6, 45, 85),
    "face_w": Parameter(130, 138, 5, 112, 156), "head_w": Parameter(144, 152, 5, 128, 170),
    "jaw_w": Parameter(95, 106, 6, 78, 126), "chin_w": Parameter(43, 50, 4, 30, 64),
    "chin_prot": Parameter(0, 1.5, 2, -6, 8), "neck_w": Parameter(86, 102, 5, 68, 125),
    # nose (mm): n-sn, al-al, sn-prn; height and radius of the bridge, height of the tip
    "nose_h": Parameter(50, 54, 3.5, 40, 66), "nose_w": Parameter(32, 36, 3, 24, 50),
    "nose_prot": Parameter(18, 20, 2, 12, 27), "bridge_h": Parameter(0, 2, 1.6, -5, 7),
    "bridge_w": Parameter(6.2, 7.2, 0.9, 4, 10), "nose_tip": Parameter(1.5, 0, 1.8, -5, 6),
    # mouth (mm): sn-sto, ls-sto, sto-li, ch-ch; depth of Cupid's bow (a share)
    "ulip_h": Parameter(20.5, 22.5, 2.2, 14, 30), "verm_u": Parameter(8.4, 7.8, 1.6, 3, 14),
    "verm_l": Parameter(9.8, 9.4, 1.7, 4, 16), "mouth_w": Parameter(50, 54, 3.6, 38, 66),
    "cupid": Parameter(0.55, 0.45, 0.25, 0, 1.2),
    # eyes and brows (mm): en-en, en-ex, aperture; slope between the canthi; crease; half the brow's thickness
    "icd": Parameter(32, 33.2, 2.6, 24, 42), "eye_w": Parameter(29.5, 30.5, 1.5, 25, 35),
    "eye_h": Parameter(10.8, 10, 1, 6.5, 14), "eye_tilt": Parameter(0.07, 0.05, 0.05, -0.12, 0.25),
    "eye_depth": Parameter(2.5, 4, 1.4, -2, 9), "lid": Parameter(3.6, 2.8, 1, 0.5, 6),
    "brow_gap": Parameter(19, 16.5, 2, 11, 26), "brow_t": Parameter(2.6, 4, 0.7, 1.2, 6.5),
    "brow_arch": Parameter(3.2, 1.8, 1.2, -1, 7), "brow_ridge": Parameter(1, 4, 1.3, -1, 8),
    # soft tissue (mm), scale of the ears
    "cheek": Parameter(3.6, 2.8, 1.3, -1, 8), "fat": Parameter(0.5, 0, 2.2, -5, 8),
    "ear": Parameter(1, 1.08, 0.07, 0.8, 1.4),
    # age (years), skin (individual typology angle in degrees: 55 very light, -30 dark), colours (shares)
    "age": Parameter(42, 42, 16, 16, 90), "ita": Parameter(25, 25, 28, -60, 65),
    "grey": Parameter(0.15, 0.2, 0.25, 0, 1), "melanin": Parameter(0.6, 0.6, 0.25, 0, 1),
    "hair_red": Parameter(0.18, 0.18, 0.18, 0, 1), "iris": Parameter(0.6, 0.6, 0.3, 0, 1),
    "lip_red": Parameter(0.65, 0.4, 0.2, 0, 1), "freckle": Parameter(0.2, 0.2, 0.2, 0, 1),
    # hair: volume and parting in mm, otherwise shares
    "hair_len": Parameter(0.65, 0.1, 0.15, 0, 1), "hair_vol": Parameter(14, 9, 4, 1.5, 28),
    "curl": Parameter(0.3, 0.3, 0.3, 0, 1), "fringe": Parameter(0.18, 0.1, 0.22, 0, 1),
    "part": Parameter(0, 0, 8, -20, 20), "recede": Parameter(0.02, 0.5, 0.25, 0, 1),
    # beard; offset in the noise texture of skin and hair, an arbitrary constant of each person
    "beard": Parameter(0, 0.35, 0.3, 0, 1), "texture": Parameter(5, 5, 2, 0, 10),
}  # fmt: skip

# Parameters that vary between images of one person, and their values in the canonical image.
NUISANCE: dict[str, float] = {
    "yaw": 0.0, "pitch": 0.0, "roll": 0.0,  # radians
    "persp": 0.0, "zoom": 1.0, "dx": 0.0, "dy": 0.0,  # 1 / distance (1/mm, below 0.0015), scale, shift (mm)
    "lx": 0.0, "ly": 0.5, "lz": 1.0,  # direction of the light in the camera's frame
    "key": 0.62, "warm": 0.0, "amb": 0.45,  # its power, its warmth (-1 to 1), the ambient light
    "smile": 0.0, "open": 0.0, "blink": 0.0, "brow": 0.0, "gaze": 0.0,  # expression (shares)
    "glasses": 0.0, "noise": 0.0, "bgv": 0.0, "seed": 0.0,  # grain, background texture, seed of both
    "bg0": 0.62, "bg1": 0.64, "bg2": 0.66, "cloth0": 0.30, "cloth1": 0.32, "cloth2": 0.36,  # sRGB
}  # fmt: skip

Identity = make_dataclass("Identity", PARAMETERS, frozen=True)
Nuisance = make_dataclass("Nuisance", NUISANCE, frozen=True)
# Heights (y) and half widths of a face in its expression, in mm; `old` rises from 0 (22 years) to 1 (85).
_LEVELS = "old hairline subnasale stomion gonion gnathion vertex brow eye_x eye_h mouth upper lower"
Levels = make_dataclass("Levels", _LEVELS.split(), frozen=True)
# Face without nose, eyes and lips: tables of the loft [batch, 6, 1, knots], relief [batch, 1, y, x].
Skull = make_dataclass("Skull", ["levels", "tables", "relief"], frozen=True)
# Loft at a point: half width, z where widest, depths from there, squareness; half width of long hair.
Section = namedtuple("Section", "width widest_z front back square curtain")
# At |x|: t = |x| / half width; heights of the closed mouth, the vermilion's borders, the lips' inner edges.
MouthLines = namedtuple("MouthLines", "t line upper lower inner_upper inner_lower")
# Eye at a point: mm inside the aperture, heights of the lids, coordinates relative to the eye (x, y, x / half width).
EyeLines = namedtuple("EyeLines", "inside upper lower x y t")

NASION, ZYGION, CHIN = 8.0, -14.0, 15.0  # heights of two points, and how high the chin's rounding reaches
KNOT_LOW, KNOT_HIGH, KNOTS = -215.0, 175.0, 391  # the tables of the loft, 1 mm apart
RELIEF_X, RELIEF_LOW, RELIEF_HIGH, RELIEF_STEP = 85.0, -150.0, 90.0, 2.5  # the relief map over |x|, y
LIPS_X, LIPS_LOW, LIPS_HIGH, LIPS_STEP = 40.0, -32.0, 20.0, 1.0  # map of the lips, from the stomion


@dataclass(frozen=True)
class Head:
    """A batch of heads: parameters `p`, nuisances `n`, levels `y`, maps, anchors of nose and eyes (mm)."""

    p: Identity
    n: Nuisance
    y: Levels
    skull: Skull
    lips: Float[Tensor, "batch 1 rows columns"]
    subnasale_z: Values
    nasion_z: Values
    eye_z: Values
    ala_r: Values
    tip_r: Values
    tip_y: Values
    tip_z: Values


def lerp(a: Scalar, b: Scalar, t: Scalar) -> Scalar:
    """Linear interpolation from `a` (t = 0) to `b` (t = 1)."""
    return a + (b - a) * t


def bell(distance: Tensor, width: Scalar) -> Tensor:
    """Gaussian of height 1 and standard deviation `width`."""
    # Far out it is 2e-35, not less: where exp underflows it takes fifty times as long.
    return (distance / width).square_().mul_(-0.5).clamp_(min=-80).exp_()


def length(*parts: Tensor) -> Tensor:
    """Euclidean length; a small constant keeps it above zero, so that gradients and quotients are finite."""
    total = parts[0] * parts[0]
    for part in parts[1:]:
        total = total + part * part
    return total.add_(1e-9).sqrt_()


def unit(vectors: Float[Tensor, "batch 3 points"]) -> Float[Tensor, "batch 3 points"]:
    """Vectors at length 1."""
    return vectors / length(*vectors.unbind(1))[:, None]


def smoothstep(low: Scalar, high: Scalar, x: Tensor) -> Tensor:
    """Smooth step from 0 at `low` to 1 at `high`; `low` may be greater than `high`."""
    t = ((x - low) / (high - low)).clamp_(0, 1)
    return (t * -2).add_(3).mul_(t).mul_(t)


def smooth_min(a: Tensor, b: Tensor, reach: float) -> Tensor:
    """Minimum of two distances, blended where they differ by less than `reach`."""
    overlap = (a - b).abs_().sub_(reach).clamp_(max=0)  # its negative
    return torch.minimum(a, b).sub_(overlap.square_().div_(4 * reach))


def read_map(maps: Float[Tensor, "batch maps y x"], u: Points, v: Points, padding="border") -> Tensor:
    """Sample maps bilinearly at u (across) and v (down), in [-1, 1]. Returns [batch, maps, points]."""
    grid = torch.stack(torch.broadcast_tensors(u, v), -1)[:, None].expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps, grid, align_corners=True, padding_mode=padding)[:, :, 0]


def build(p: Identity, n: Nuisance) -> Head:
    """Build a batch of heads: levels, loft tables, relief maps, and the depths of nose and eyes."""
    y = _levels(p, n)
    skull, zero = Skull(y, _loft_tables(p, y), _relief_map(p, n, y)), torch.zeros_like(p.age)
    at_x, at_y = torch.cat([zero, zero, y.eye_x], 1), torch.cat([y.subnasale, zero + NASION, zero], 1)
    subnasale_z, nasion_z, eye_z = front_z(skull, at_x, at_y).split(1, dim=1)
    tip_r = 8.2 + 0.13 * (p.nose_w - 34)
    return Head(
        p, n, y, skull, _lips_map(p, n, y), subnasale_z, nasion_z, eye_z - 1.5 - p.eye_depth,
        ala_r=6.2 + 0.06 * (p.nose_w - 34) + 0.4 * y.old, tip_r=tip_r,
        tip_y=y.subnasale + 9.5 + p.nose_tip - 2.5 * y.old, tip_z=subnasale_z + p.nose_prot - tip_r + 1.5,
    )  # fmt: skip


def _levels(p: Identity, n: Nuisance) -> Levels:
    subnasale, chin, drop = NASION - p.nose_h, NASION - p.face_h, 14 * n.open
    return Levels(
        old=smoothstep(22, 85, p.age),
        hairline=NASION + p.forehead_h, vertex=NASION + 100 + 0.12 * p.forehead_h,
        subnasale=subnasale, stomion=subnasale - p.ulip_h + 1.5 * n.smile, gnathion=chin - drop,
        # A long nose in a short face must not push the jaw's angle into the chin.
        gonion=torch.maximum(lerp(subnasale - p.ulip_h, chin, 0.22), chin + 25) - 0.7 * drop,
        brow=p.brow_gap + 4 * n.brow, eye_x=(p.icd + p.eye_w) / 2,
        eye_h=p.eye_h * (1 - 0.93 * n.blink) * (1 - 0.12 * n.smile),
        mouth=p.mouth_w / 2 * (1 + 0.13 * n.smile - 0.10 * n.open),
        upper=p.verm_u * (1 - 0.15 * n.smile), lower=p.verm_l,
    )  # fmt: skip


def _columns(rows: list[tuple], like: Values) -> Float[Tensor, "batch fields rows"]:
    """Convert rows of numbers and [batch, 1] tensors to one tensor, in which each field is a vector."""
    one = torch.ones_like(like)
    columns = zip(*rows, strict=True)
    return torch.stack([torch.cat([cell * one for cell in column], 1) for column in columns], 1)


def _loft_tables(p: Identity, y: Levels) -> Float[Tensor, "batch 6 1 knots"]:
    """Cross sections from chin to vertex in 1 mm steps; the fields are those of `Section`."""
    zygion, gonion, euryon, chin = p.face_w / 2, p.jaw_w / 2, p.head_w / 2, p.chin_w / 2
    forward, above, jowl = p.chin_prot, y.gnathion + 14, 3.5 * y.old + 0.5 * p.fat
    rows = [  # height, half width, z where widest, z of the front, z of the back, squareness
        (y.gnathion, chin + 0.5, 60, 87 + forward, 38, 0.25),
        (above, chin + 4, 52, 89 + forward, 22, 0.2),
        (lerp(above, y.gonion, 0.55), lerp(chin + 4, gonion, 0.6) + jowl, 34, 89 + 0.5 * forward, 2, 0.1),
        (y.gonion, gonion + 0.5, 14, 91, -22, 0.08),
        (y.subnasale + 4, lerp(gonion, zygion, 0.62) + 0.3 * p.fat, 12, 91, -50, 0.08),
        (ZYGION, zygion, 14, 89, -78, 0.12),
        (NASION + 2, lerp(zygion, euryon, 0.25), 8, 91, -86, 0.18),
        (NASION + 22, lerp(zygion, euryon, 0.75), 0, 94.5, -92, 0.2),
        (NASION + 50, euryon, -4, 95, -95, 0.12),
        (y.vertex, euryon, -4, 95, -92, 0),
    ]
    height, fields = _columns(rows, p.age).split([1, 5], dim=1)
    knot = torch.linspace(KNOT_LOW, KNOT_HIGH, KNOTS, device=p.age.device)[None]
    # The share of each gap between rows that lies below a knot: summing over the gaps interpolates the rows.
    passed = ((knot[..., None] - height[..., :-1]) / height.diff()).clamp(0, 1)
    straight = fields[..., :1] + fields.diff() @ passed.transpose(1, 2)
    kernel = torch.exp(-0.5 * (torch.arange(-15, 16, device=knot.device) / 5) ** 2)
    padded = F.pad(straight.flatten(0, 1)[:, None], (15, 15), mode="replicate")
    smooth = F.conv1d(padded, (kernel / kernel.sum())[None, None]).view_as(straight)
    width, widest, front, back, square = smooth.unbind(1)
    table = [width, widest, front - widest, widest - back, square, _curtain(p, knot)]
    return torch.stack(table, 1)[:, :, None]


def _curtain(p: Identity, y: Points) -> Points:
    """Half width of long hair behind the face: none above the crown and below the hair's length."""
    full = p.head_w / 2 + 0.8 * p.hair_vol + 7 * p.curl + 6 * smoothstep(20, -120, y)
    half = lerp(40.0, full, smoothstep(0.12, 0.38, p.hair_len))
    half = half * torch.sqrt((1 - ((y - 30) / 75).clamp(0, 1) ** 2).clamp(min=1e-4))
    end = ((y - lerp(-5.0, -205.0, p.hair_len)) / 60).clamp(0, 1)
    return half * torch.sqrt(end * (2 - end) + 1e-6)  # a rounded end


def _relief_map(p: Identity, n: Nuisance, y: Levels) -> Float[Tensor, "batch 1 rows columns"]:
    """Millimetres added to the loft over (|x|, y): separable bumps as one product, then the folds."""
    bumps = [  # height, centre x and y, width in x and y
        (p.brow_ridge, y.eye_x - 6, 15, 15, 6),
        (0.5 * p.brow_ridge, 0, 16, 9, 8),  # glabella
        (-9.5, y.eye_x - 1, 1, 15.5, 10.5),  # orbit
        (-4, 14, 2, 6, 9),  # side of the nose's root
        (2, y.eye_x + 4, 22, 16, 7),
        (p.cheek + 1.5 * n.smile, y.eye_x + 11, -21 + 2 * n.smile, 14, 10),
        (2.2 + 0.3 * p.fat - 2.2 * y.old + 2.5 * n.smile, 27, y.subnasale + 11, 12, 12),
        (p.fat, 38, y.stomion + 3, 13, 17),
        (-3.2 * y.old, 42, y.subnasale - 6, 9, 13),  # hollow cheek
        (4, 0, y.stomion + 3, 21, 15),  # muzzle
        (-3.4, 0, 0.56 * y.stomion + 0.44 * y.gnathion, 15, 4.6),  # mentolabial furrow
        (3.8, 0, y.gnathion + 17, 0.4 * p.chin_w, 8),
        (-1.0, 0, y.subnasale - 0.45 * p.ulip_h, 2.6, 6),  # philtrum and its ridge
        (0.7, 6, y.subnasale - 0.5 * p.ulip_h, 2.6, 6),
        (-3, 60, 30, 12, 18),  # temple
        (3.2 * y.old, 36, y.gnathion + 24, 9, 9),  # jowl
        (1.9 * y.old, y.eye_x - 1, -13, 10, 3.4),  # bag under the eye, its lower edge, the hooded lid
        (-1.9 * y.old, y.eye_x - 2, -19, 13, 3),
        (1.6 * y.old, y.eye_x + 5, 11, 11, 4),
    ]
    height, centre_x, centre_y, width_x, width_y = _columns(bumps, p.age)[..., None].unbind(1)
    xs = torch.arange(0, RELIEF_X + 1e-3, RELIEF_STEP, device=p.age.device)
    ys = torch.arange(RELIEF_LOW, RELIEF_HIGH + 1e-3, RELIEF_STEP, device=p.age.device)
    relief = (height * bell(ys - centre_y, width_y)).transpose(1, 2) @ bell(xs - centre_x, width_x)
    nasolabial = _from_segment(xs, ys, (p.nose_w / 2 + 1, y.subnasale + 7), (y.mouth + 8, y.stomion - 3))
    marionette = _from_segment(xs, ys, (y.mouth + 2, y.stomion - 4), (y.mouth + 7, y.gnathion + 20))
    folds = (0.35 + 2.3 * y.old + 1.3 * n.smile)[..., None] * bell(nasolabial, 3.0)
    return (relief - folds - (1.9 * y.old)[..., None] * bell(marionette, 3.0))[:, None]


def _from_segment(xs: Tensor, ys: Tensor, start: tuple[Values, Values], end: tuple[Values, Values]) -> Tensor:
    """Distance [batch, y, x] of grid points from a line segment, one segment per face."""
    (x0, y0), (x1, y1) = [(x[..., None], y[..., None]) for x, y in (start, end)]
    dx, dy, x, y = x1 - x0, y1 - y0, xs[None, None], ys[None, :, None]
    t = (((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy)).clamp(0, 1)
    return length(x - x0 - t * dx, y - y0 - t * dy)


def mouth_lines(p: Identity, n: Nuisance, y: Levels, ax: Points) -> MouthLines:
    """Heights (mm) of the lines of the mouth at |x|."""
    t = (ax / y.mouth).clamp(max=1.0)
    arc = torch.sqrt((1 - t * t).clamp(min=1e-4))
    line = y.stomion + (3.5 * n.smile - 0.3 - 1.6 * y.old) * t * t
    gap = n.open * 13 * arc
    bow = 0.22 * p.cupid * 45 * t * t * (1 - t) * torch.exp(-((t / 0.30) ** 2))
    upper = line + y.upper * ((1 - t * t) * (1 + 0.22 * t) + bow)
    lower = line - y.lower * arc * (1 - 0.25 * t * t)
    return MouthLines(t, line, upper + 0.18 * gap, lower - gap, line + 0.18 * gap, line - 0.92 * gap)


def _lips_map(p: Identity, n: Nuisance, y: Levels) -> Float[Tensor, "batch 1 rows columns"]:
    """Relief of the lips (mm): two rolls, the seam between them, the hole of an open mouth."""
    xs = torch.arange(0, LIPS_X + 1e-3, LIPS_STEP, device=p.age.device)
    ys = torch.arange(LIPS_LOW, LIPS_HIGH + 1e-3, LIPS_STEP, device=p.age.device)
    height, ax = [grid.reshape(1, -1) for grid in torch.meshgrid(ys, xs, indexing="ij")]
    at = height + y.stomion
    t, _, upper, lower, inner_upper, inner_lower = mouth_lines(p, n, y, ax)
    up = (at - inner_upper) / (upper - inner_upper).clamp(min=0.6)
    down = (inner_lower - at) / (inner_lower - lower).clamp(min=0.6)
    is_upper = at > 0.5 * (inner_upper + inner_lower)
    upper_roll = 3.2 * (1 - ((up - 0.35) / 0.85) ** 2).clamp(min=0)
    lower_roll = 4.2 * (1 - ((down - 0.42) / 0.72) ** 2).clamp(min=0)
    roll = torch.where(is_upper, upper_roll, lower_roll) * (1 - (t * t) ** 2)
    seam = bell(at - torch.where(is_upper, inner_upper, inner_lower), 1.1)
    within = smoothstep(1.12, 0.9, ax / y.mouth)
    hole = smoothstep(-0.4, 1.2, torch.minimum(inner_upper - at, at - inner_lower)) * (n.open > 0.02)
    return (roll - (1.7 * seam + 9 * hole) * within).view(-1, 1, len(ys), len(xs))


def loft(skull: Skull, y: Points) -> Section:
    """Cross section of the loft at height y (mm)."""
    height = (y - KNOT_LOW) / (KNOT_HIGH - KNOT_LOW) * 2 - 1
    return Section(*read_map(skull.tables, height, torch.zeros_like(y)).unbind(1))


def caps(levels: Levels, y: Points) -> tuple[Points, Points]:
    """Depth of a point in the vault or the chin: in mm, and squared relative to their heights."""
    vault, chin = (y - NASION - 46).clamp(min=0), (levels.gnathion + CHIN - y).clamp(min=0)
    return vault + chin, (vault / (levels.vertex - NASION - 46)) ** 2 + (chin / CHIN) ** 2


def relief(skull: Skull, ax: Points, y: Points) -> Points:
    """Relief (mm) on the loft at (|x|, y)."""
    v = (y - RELIEF_LOW) / (RELIEF_HIGH - RELIEF_LOW) * 2 - 1
    return read_map(skull.relief, ax / RELIEF_X * 2 - 1, v)[:, 0]


def front_z(skull: Skull, x: Points, y: Points) -> Points:
    """z of the frontal surface without nose, eyes and lips."""
    at = loft(skull, y)
    across = ((x / at.width) ** 2).clamp(max=0.98)
    depth = lerp(1 - across, torch.sqrt(1 - across * across), at.square) - caps(skull.levels, y)[1]
    return at.widest_z + at.front * torch.sqrt(depth.clamp(min=0)) + relief(skull, x.abs(), y)


def eye_lines(head: Head, ax: Points, y: Points) -> EyeLines:
    ex = ax - head.y.eye_x
    t, ey = ex / (head.p.eye_w / 2), y - head.p.eye_tilt * ex
    arc = (1 - t * t).clamp(min=0)
    upper = head.y.eye_h * 0.6 * arc * (1.08 - 0.12 * t) - 0.8 * head.y.old * smoothstep(0, 1, t)
    lower = -head.y.eye_h * 0.4 * arc * (1 + 0.18 * t)
    inside = torch.minimum(upper - ey, ey - lower) - 2.0 * (t.abs() - 1).clamp(min=0)
    return EyeLines(inside, upper, lower, ex, ey, t)


def hair_field(head: Head, x: Points, y: Points, z: Points) -> Points:
    """Signed distance (mm) inside the hair-covered scalp: above the hairline, behind the temple, down to the nape."""
    p, ax = head.p, x.abs()
    receded = 30 * p.recede * (0.15 + 0.85 * head.y.old)
    hairline = head.y.hairline - 18 * (ax / 62) ** 2 + receded * (0.35 + 0.8 * bell(ax - 36, 15))
    fringe = p.fringe * 34 * (1 + 0.03 * p.part * x / 30) * smoothstep(66, 44, ax) * (z > 0)
    temple = torch.minimum(36 - z + 0.12 * (y - 20), y + 16)
    nape = torch.minimum(-14 - z, y + 70)
    return -smooth_min(hairline - fringe - y, -torch.maximum(temple, nape), 14.0)


def ear(head: Head, ax: Points, y: Points, z: Points) -> Points:
    """Normalised radius in the ellipsoid of the ear, 1 on its surface."""
    scale = head.p.ear * (1 + 0.08 * head.y.old)
    out = (ax - head.p.face_w / 2 - 5.5 - 0.18 * (y + 8)) / 5.5
    return length(out, (y + 14) / 31 / scale, (z + 4 - 0.25 * y) / 17 / scale)


def distance(head: Head, x: Points, y: Points, z: Points) -> Points:
    """Approximate signed distance (mm) to head, hair, neck and shoulders."""
    p, levels, ax = head.p, head.y, x.abs()
    at = loft(head.skull, y)
    cap, cap2 = caps(levels, y)
    dz = z - at.widest_z
    x2, z2 = (x / at.width) ** 2, (dz / torch.where(dz > 0, at.front, at.back)) ** 2
    # The caps enter the radius: narrowing the section instead leaves a knob on the crown under thick hair.
    radius = torch.sqrt(lerp(x2 + z2, torch.sqrt(x2 * x2 + z2 * z2 + 1e-9), at.square) + cap2 + 1e-9)
    bone = length(x, dz, cap) * (1 - 1 / radius)
    lips_v = (y - levels.stomion - LIPS_LOW) / (LIPS_HIGH - LIPS_LOW) * 2 - 1
    lips = read_map(head.lips, ax / LIPS_X * 2 - 1, lips_v, "zeros")[:, 0]
    f = bone - (relief(head.skull, ax, y) + lips) * smoothstep(25.0, 65.0, z)
    f = smooth_min(f, _dorsum(head, x, y, z), 13.0)
    f = smooth_min(f, _nose_tip(head, x, y, z), 5.0)
    eye = eye_lines(head, ax, y)  # a globe, whose lids are a thicker shell outside the aperture
    globe = length(eye.x * 0.8, y, z - head.eye_z) - 13.5 + 1.3 * smoothstep(-0.5, 0.5, eye.inside)
    f = smooth_min(f, globe, 2.0)
    f = smooth_min(f, (ear(head, ax, y, z) - 1) * 6, 4.0)
    neck = length(x, (z + 16) * 0.95) - p.neck_w / 2 - 14 * smoothstep(-120, -200, y)
    f = smooth_min(f, torch.maximum(neck, y + 40), 9.0)
    f = smooth_min(f, length(x / 1.9, y + 262, (z + 18) * 1.25) - 105.0, 14.0)  # shoulders
    return torch.minimum(f, smooth_min(_hair(head, bone, x, y, z), curtain(at.curtain, x, z), 6.0))


def _dorsum(head: Head, x: Points, y: Points, z: Points) -> Points:
    """The bridge of the nose: a capsule from its root to its tip, a little thicker below."""
    p = head.p
    y0, z0 = NASION + 1, head.nasion_z - p.bridge_w - 0.5 + p.bridge_h
    dy, dz = head.tip_y + 2 - y0, head.tip_z - 1.5 + 0.25 * p.bridge_h - z0
    t = (((y - y0) * dy + (z - z0) * dz) / (dy * dy + dz * dz)).clamp(0, 1)
    return length(x, y - y0 - dy * t, z - z0 - dz * t) - p.bridge_w - 1.5 * t


def _nose_tip(head: Head, x: Points, y: Points, z: Points) -> Points:
    ax, half, above, depth = x.abs(), head.p.nose_w / 2, y - head.y.subnasale, z - head.subnasale_z
    ala = length(ax - half + head.ala_r, (above - 7) * 0.9, (depth - 1.5) * 0.62) - head.ala_r
    tip = length(x, y - head.tip_y, z - head.tip_z) - head.tip_r
    nostril = length((ax - 0.47 * half) / 1.25, above - 2.2, (depth - 6) * 0.45) - 2.6
    return torch.maximum(smooth_min(tip, ala, 3.5), -nostril)


def curtain(half: Points, x: Points, z: Points) -> Points:
    """Distance to long hair of half width `half`: an ellipse that ends behind the front of the neck."""
    depth = 0.74 * half
    dz = z - 18 + depth
    return length(x, dz) * (1 - 1 / length(x / half, dz / depth)) + 8 * smoothstep(10, 2, half)


def _hair(head: Head, bone: Points, x: Points, y: Points, z: Points) -> Points:
    """A shell on the skull, thinner in front and below."""
    thin = (1 - 0.5 * smoothstep(30, 85, z)) * (1 - 0.45 * head.y.old * head.p.recede)
    volume = head.p.hair_vol * (0.3 + 0.7 * smoothstep(-15, 85, y)) * thin
    return bone - volume * smoothstep(-1, 22, hair_field(head, x, y, z))
