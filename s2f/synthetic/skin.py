"""Surface of a head: colours of skin, hair, eyes, lips and brows, shading, and the landmarks.

Colours are linear RGB [batch, 3, points]; weights and distances are [batch, points]. Layers are painted in order, each
over those below it. Lines (lashes, wrinkles) become wider and fainter with the size of a pixel. Landmarks lie on the
curves that define the painted features.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from s2f.synthetic.head import (
    NASION,
    ZYGION,
    Head,
    Points,
    Scalar,
    Values,
    bell,
    caps,
    curtain,
    ear,
    eye_lines,
    front_z,
    hair_field,
    length,
    lerp,
    loft,
    mouth_lines,
    read_map,
    smoothstep,
    unit,
)

Colour = Float[Tensor, "#batch 3 #points"]
TILE = 256  # side of the noise texture


@dataclass(frozen=True)
class Surface:
    """Points on the surface of a head (mm), and quantities that several layers use."""

    x: Points
    y: Points
    z: Points
    ax: Points  # |x|
    pixel: Values  # mm
    front: Points  # 1 on the face, 0 elsewhere
    mottle: Points  # coarse noise
    grain: Points  # fine noise


@dataclass(frozen=True)
class Paint:
    """Material of a surface for shading: colour, gloss, share of hair, sheen of the strands."""

    colour: Colour
    gloss: Points
    hair: Points
    sheen: Points


@dataclass(frozen=True)
class Light:
    """A lamp (unit direction towards it in the camera frame, power, warmth) and the ambient light."""

    towards: Float[Tensor, "batch 3 1"]
    key: Values
    warm: Values
    ambient: Values


def rgb(like: Tensor, red: float, green: float, blue: float) -> Float[Tensor, "1 3 1"]:
    """A colour with the device and dtype of `like`."""
    return like.new_tensor([red, green, blue]).view(1, 3, 1)


def over(below: Colour, above: Colour, weight: Points) -> Colour:
    """Blend the colour `above` over `below`, with opacity `weight`."""
    return torch.lerp(below, above, weight[:, None])


def line(distance: Points, width: Scalar, pixel: Values) -> Points:
    """Opacity of a line: 1 at its centre, but fainter and wider where it is thinner than a pixel."""
    drawn = (width * width + 0.12 * pixel * pixel) ** 0.5
    return bell(distance, drawn) * (width / drawn)


@lru_cache
def _tile(device: torch.device) -> Float[Tensor, "1 1 rows columns"]:
    """A tileable 1/f texture with values of about -1 to 1, generated on the CPU to be the same on every device."""
    spectrum = torch.fft.fft2(torch.randn(TILE, TILE, generator=torch.Generator().manual_seed(7)))
    k = torch.fft.fftfreq(TILE) * TILE
    radius = torch.sqrt(k[:, None] ** 2 + k[None] ** 2)
    tile = torch.fft.ifft2(spectrum * (radius > 3) / radius.clamp(min=1)).real
    tile = (tile / tile.std() / 2).clamp(-1.5, 1.5)
    return F.pad(tile[None, None], (0, 1, 0, 1), mode="circular").to(device)


def noise(u: Points, v: Points) -> Points:
    """Noise texture at (u, v), with period 1."""
    tile = _tile(u.device).expand(len(u), -1, -1, -1)
    return read_map(tile, (u - u.floor()) * 2 - 1, (v - v.floor()) * 2 - 1)[:, 0]


def power(base: Tensor, exponent: float) -> Tensor:
    """base ** exponent, independent of the batch.

    On a CPU, the operator ** rounds the last elements of a tensor, which do not fill a vector register, differently
    from the rest, so that the value of a face would depend on its place in the batch.
    """
    return torch.exp(exponent * torch.log(base))


def skin_colour(ita: Values) -> Colour:
    """Skin reflectance given the individual typology angle (degrees): CIELAB with L* = 50 + b* tan(ITA)."""
    b = 17.5 - 3.5 * power(((ita - 15).abs() / 60).clamp(max=1.2), 1.3)
    lightness = (50 + b * torch.tan((ita * math.pi / 180).clamp(-1.2, 1.2))).clamp(22, 76)
    a = 11.5 - 4.0 * smoothstep(20, 60, ita) - 1.5 * smoothstep(-10, -55, ita)
    fy = (lightness + 16) / 116
    f = torch.stack([fy + a / 500, fy, fy - b / 200], 1)
    xyz = torch.where(f > 6 / 29, f**3, 0.1284 * (f - 4 / 29)) * rgb(ita, 0.9505, 1.0, 1.089)
    to_rgb = [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
    return (ita.new_tensor(to_rgb) @ xyz).clamp(0.004, 1)


def paint(head: Head, x: Points, y: Points, z: Points, cloth: Colour, pixel: Values) -> Paint:
    """Material of points on the surface of a head.

    Args:
        head: Heads.
        x: Coordinate to the right (mm).
        y: Coordinate upwards (mm).
        z: Coordinate towards the viewer (mm).
        cloth: Colour of the clothes.
        pixel: Size of a pixel (mm).
    """
    p, ax, patch = head.p, x.abs(), head.p.texture
    s = Surface(
        x, y, z, ax, pixel,
        front=(z > 45).to(x),
        mottle=noise(x / 170 + patch, y / 170 + 0.37 * patch),
        grain=noise(x / 40 + 0.7 * patch, y / 40 + patch),
    )  # fmt: skip
    grey = (p.grey * (1 + 0.12 * s.grain)).clamp(0, 1)
    hair = _hair_colour(head, grey)
    colour = _skin(head, s)
    colour, bearded = _beard(head, s, colour, hair)
    colour, lips = _lips(head, s, colour)
    brow = hair * (0.45 + 0.55 * grey)[:, None]
    colour = over(colour, brow, _brow_weight(head, s))
    colour, eye = _eyes(head, s, colour)
    gloss = 0.22 * (1 - bearded * p.beard) + 0.45 * lips + 0.7 * eye
    strands = _strands(head, s)
    hairy = _hair_weight(head, s, strands)
    colour = over(colour, hair * (1 + (0.38 - 0.14 * grey) * strands)[:, None], hairy)
    clothed = smoothstep(-1.5, 1.5, -y - 152 - 18 * bell(ax, 28.0)) * (1 - hairy)
    colour = over(colour, cloth * (1 + 0.1 * s.grain)[:, None], clothed)
    sheen = hairy * (0.07 + 0.05 * strands) * (1 - 0.6 * p.curl)
    return Paint(colour.clamp(0, 1), lerp(gloss, 0.1, hairy) * (1 - clothed), hairy, sheen)


def _spot(s: Surface, x: Scalar, y: Scalar, width: float, height: float) -> Points:
    return bell(s.ax - x, width) * bell(s.y - y, height)


def _skin(head: Head, s: Surface) -> Colour:
    """Skin with flushed cheeks, nose and chin, dark circles under the eyes, freckles, age spots and wrinkles."""
    p, levels, old = head.p, head.y, head.y.old
    flush = 0.55 * _spot(s, 40.0, -30.0, 15.0, 13.0)
    flush = flush + 0.5 * _spot(s, 0.0, levels.subnasale + 10, 13.0, 8.0)
    flush = flush + 0.25 * _spot(s, 0.0, levels.gnathion + 16, 12.0, 8.0)
    colour = skin_colour(p.ita) * (1 + 0.06 * s.mottle * (1 + old))[:, None]
    colour = colour * (1 + flush[:, None] * rgb(s.x, 0.10, -0.13, -0.12))
    ring = (0.16 + 0.14 * old) * _spot(s, levels.eye_x - 2, -3.0, 15.0, 9.0)
    spots = smoothstep(0.45, 1.2, s.grain) * (0.5 * p.freckle * smoothstep(70, 30, s.ax) + 0.5 * old)
    colour = colour * (1 - ring[:, None] * rgb(s.x, 0.8, 1.0, 0.9) - 0.42 * spots[:, None] * rgb(s.x, 0.6, 1.0, 1.1))
    return colour * (1 - 0.36 * _wrinkles(head, s) * smoothstep(30, 85, p.age) * s.front)[:, None]


def _wrinkles(head: Head, s: Surface) -> Points:
    """Lines across the forehead, crow's feet, and the frown line."""
    above = s.y - head.y.brow
    phase = (above - 8 - 1.5 * torch.sin(s.x * 0.07 + head.p.texture) + 0.0012 * s.ax * s.ax) / 9.5
    forehead = line((phase - phase.round()) * 9.5, 1.2, s.pixel) * (0.55 + 0.9 * s.mottle).clamp(0, 1)
    forehead = forehead * smoothstep(5, 12, above) * smoothstep(4, 14, head.y.hairline - s.y)
    forehead = forehead * smoothstep(58, 36, s.ax)
    ex, ey = s.ax - head.y.eye_x - 0.5 * head.p.eye_w + 2, s.y + 1.0
    radius, turn = length(ex, ey), torch.atan2(ey, ex) * 4.5
    feet = line((turn - turn.round()) * radius / 4.5, 0.8, s.pixel)
    feet = feet * smoothstep(3, 7, radius) * smoothstep(22, 13, radius) * smoothstep(1, 6, ex)
    frown = line(s.ax - 5.5, 1.1, s.pixel) * bell(above + 2, 6.0)
    return forehead + 0.8 * feet + 0.5 * frown


def _hair_colour(head: Head, grey: Points) -> Colour:
    """Hair colour: absorption by two pigments, brown and red, blended with grey."""
    brown, red = head.p.melanin[:, None], head.p.hair_red[:, None]
    pigment = lerp(0.25, 4.4, brown) * rgb(grey, 0.74, 1.0, 1.3)
    pigment = pigment + red * (1 - brown) * rgb(grey, 0.0, 1.0, 1.9)
    return over(torch.exp(-pigment) * rgb(grey, 0.85, 0.8, 0.7), rgb(grey, 0.46, 0.46, 0.45), grey * 0.95)


def _beard(head: Head, s: Surface, below: Colour, hair: Colour) -> tuple[Colour, Points]:
    """Paint the beard, from stubble to full. Also returns the region where a beard can grow."""
    levels = head.y
    cheek = levels.stomion + 3 + ((s.ax - 20).clamp(min=0) / 40) ** 2 * 52
    edge = lerp(levels.subnasale - 3.0, cheek, smoothstep(17, 31, s.ax))
    grows = smoothstep(-3, 7, edge - s.y) * smoothstep(-150, -120, s.y) * smoothstep(5, 25, s.z)
    grows = grows * (1 - 0.6 * _spot(s, 13.0, levels.stomion - 14, 6.0, 4.0))
    cover = grows * (0.75 + 0.35 * s.grain).clamp(0, 1) * (0.85 * smoothstep(0.05, 1.0, head.p.beard))
    return over(below, lerp(hair, below, 0.12), cover), grows


def _lips(head: Head, s: Surface, below: Colour) -> tuple[Colour, Points]:
    """Paint the vermilion, the seam and the inside of an open mouth. Also returns the region of the lips."""
    p, half, mouth = head.p, head.y.mouth, mouth_lines(head.p, head.n, head.y, s.ax)
    weight = smoothstep(-0.9, 0.9, torch.minimum(mouth.upper - s.y, s.y - mouth.lower))
    weight = weight * smoothstep(1.05, 0.93, s.ax / half) * s.front
    skin = skin_colour(p.ita)
    lip = skin * lerp(rgb(s.x, 0.86, 0.60, 0.60), rgb(s.x, 0.92, 0.42, 0.46), p.lip_red[:, None])
    lip = lerp(lip, skin * rgb(s.x, 0.70, 0.56, 0.56), 0.5 * smoothstep(30, -50, p.ita)[:, None])
    colour = over(below, lip * (1 + 0.1 * s.grain)[:, None], weight * 0.9)
    middle = 0.5 * (mouth.inner_upper + mouth.inner_lower)
    seam = line(s.y - torch.where(s.y > middle, mouth.inner_upper, mouth.inner_lower), 0.9, s.pixel)
    within = smoothstep(1.03, 0.9, s.ax / half) * s.front
    colour = colour * (1 - 0.62 * seam * within)[:, None]
    gap = smoothstep(-0.3, 0.6, torch.minimum(mouth.inner_upper - s.y, s.y - mouth.inner_lower))
    teeth = smoothstep(-0.5, 0.5, s.y - mouth.inner_upper + 7.5)
    inside = over(rgb(s.x, 0.07, 0.012, 0.012), rgb(s.x, 0.50, 0.47, 0.41), teeth)
    return over(colour, inside, gap * (head.n.open > 0.02) * within), weight


def brow_line(head: Head, ax: Points) -> tuple[Points, Points]:
    """Position of |x| along the brow, from 0 (inner end) to 1 (outer end), and the height (mm) of the brow there."""
    p = head.p
    t = (ax - p.icd / 2 + 1) / (p.eye_w + 9)
    arch = p.brow_arch * (1 - ((t - 0.62) / 0.62) ** 2)
    return t, head.y.brow - 3 + arch - 1.5 * head.y.old * smoothstep(0.5, 1, t)


def _brow_weight(head: Head, s: Surface) -> Points:
    t, height = brow_line(head, s.ax)
    thick = head.p.brow_t * (1.05 - 0.75 * smoothstep(0.45, 1.05, t)) * smoothstep(-0.08, 0.16, t) + 0.15
    weight = smoothstep(1.15, 0.45, (s.y - height).abs() / thick)
    weight = weight * smoothstep(-0.06, 0.1, t) * smoothstep(1.1, 0.9, t) * s.front
    return weight * (0.8 + 0.2 * s.grain).clamp(0, 1) * lerp(0.72, 0.92, head.p.melanin)


def _eyes(head: Head, s: Surface, below: Colour) -> tuple[Colour, Points]:
    """Paint eyes, lashes, creases and nostrils. Also returns the region of the open eye."""
    p, eye = head.p, eye_lines(head, s.ax, s.y)
    inside = smoothstep(-0.35, 0.45, eye.inside) * s.front
    looking = torch.sign(s.x) * eye.x - 3.5 * head.n.gaze
    radius, dark = length(looking, eye.y - 0.4), p.iris[:, None]
    iris = torch.exp(-lerp(0.5, 3.6, dark) * rgb(s.x, 0.75, 1.0, 1.35))
    iris = iris * lerp(rgb(s.x, 0.42, 0.55, 0.72), rgb(s.x, 0.75, 0.6, 0.45), dark)
    ball = lerp(rgb(s.x, 0.54, 0.515, 0.49), rgb(s.x, 0.45, 0.40, 0.33), head.y.old[:, None] * 0.6)
    ball = ball * (1 - 0.25 * eye.t * eye.t)[:, None]
    ball = over(ball, iris * 0.8, smoothstep(6.0, 5.3, radius))
    shade = (1 - 0.6 * line(radius - 5.7, 0.7, s.pixel)) * (1 - 0.96 * smoothstep(2.5, 1.9, radius))
    ball = ball * (shade * (1 - 0.55 * smoothstep(2.6, 0.2, eye.upper - eye.y)))[:, None]
    caruncle = 0.7 * bell(eye.t + 0.97, 0.1) * bell(eye.y, 1.6)
    ball = over(ball, skin_colour(p.ita) * rgb(s.x, 0.9, 0.5, 0.5), caruncle)
    near = smoothstep(1.25, 0.95, eye.t.abs()) * s.front
    lashes = 0.8 * line(eye.y - eye.upper - 0.35, lerp(0.75, 1.15, p.lip_red), s.pixel)
    lower = 0.3 * line(eye.y - eye.lower + 0.3, 0.6, s.pixel)
    crease = line(eye.y - eye.upper - p.lid - 0.6 * (1 - eye.t * eye.t), 0.9, s.pixel)
    crease = 0.3 * crease * (1 - 0.3 * head.y.old)
    nostril = 0.8 * _spot(s, 0.235 * p.nose_w, head.y.subnasale + 1.8, 2.3, 1.5) * (s.z > 70)
    keep = (1 - lashes * near) * (1 - lower * near) * (1 - crease * near) * (1 - nostril)
    glint = 0.55 * line(looking - 1.6, 0.9, s.pixel) * line(eye.y - 2.2, 0.9, s.pixel) * inside
    return over(below, ball, inside) * keep[:, None] + glint[:, None], inside


def _strands(head: Head, s: Surface) -> Points:
    """Streaks along the hair, wavy if it is curly; the finer ones fade as pixels become larger than they are."""
    curl, turn = head.p.curl, torch.atan2(s.x, s.z + 20) / 6.283
    wave = 0.03 * curl * torch.sin(s.y * 0.12 + 9 * turn) + head.p.texture
    coarse = noise(turn * 1.2 + wave, s.y * lerp(0.001, 0.006, curl) + 0.05 * turn)
    fine = noise(turn * 3 + wave, s.y * lerp(0.0016, 0.01, curl)) * (1.6 / s.pixel).clamp(max=1.0)
    return 0.8 * coarse + 0.5 * fine


def _hair_weight(head: Head, s: Surface, strands: Points) -> Points:
    """Opacity of the hair: on the scalp, with a ragged edge and not over the ears, and hanging behind the face."""
    scalp = smoothstep(0.0, 6.0, hair_field(head, s.x, s.y, s.z) + 4.0 * strands)
    scalp = scalp * smoothstep(1.2, 3.0, head.p.hair_vol) * smoothstep(1.02, 1.2, ear(head, s.ax, s.y, s.z))
    hanging = smoothstep(4.5, 1.5, curtain(loft(head.skull, s.y).curtain, s.x, s.z))
    return torch.maximum(scalp, hanging * smoothstep(0.12, 0.2, head.p.hair_len))


def shade(surface: Paint, light: Light, normal: Colour, up: Colour, sky: Points, lit: Points) -> Colour:
    """Shade a surface; returns the linear RGB that reaches the camera.

    The model is wrapped Lambert (red scatters furthest in skin), ambient light from above, gloss, hair sheen and rim.

    Args:
        surface: Material.
        light: Lamp and ambient light.
        normal: Unit normals, in the camera frame.
        up: Upward direction of the head, in the camera frame.
        sky: Share of the surroundings visible from each point.
        lit: 1 where the lamp is visible, 0 in its full shadow.
    """
    wrap = lerp(rgb(sky, 0.42, 0.24, 0.18), 0.2, surface.hair[:, None])
    lambert = (((normal * light.towards).sum(1)[:, None] + wrap) / (1 + wrap)).clamp(min=0)
    lambert = lambert * lerp(lit[:, None], 1.0, wrap * 0.7)
    tinted_sky = sky[:, None] ** rgb(sky, 0.8, 1.0, 1.05)
    lamp = light.key[:, None] * (1 + light.warm[:, None] * rgb(sky, 0.18, 0.0, -0.22))
    diffuse = light.ambient[:, None] * (0.72 + 0.28 * normal[:, 1:2]) * tinted_sky
    diffuse = diffuse + lamp * lambert * (0.55 + 0.45 * tinted_sky)
    halfway = unit(light.towards + rgb(sky, 0.0, 0.0, 1.0))
    glint = 0.26 * surface.gloss * (normal * halfway).sum(1).clamp(min=0) ** 22
    strand = unit(up - normal * (normal * up).sum(1, keepdim=True))
    glint = glint + surface.sheen * (1 - (strand * halfway).sum(1) ** 2).clamp(min=0) ** 30
    glint = glint * light.key * lit * (0.4 + 0.6 * sky)
    rim = 0.25 * sky * (1 - normal[:, 2].clamp(0, 1)) ** 3
    return surface.colour * (1.22 * diffuse + rim[:, None]) + glint[:, None]


def landmarks(head: Head) -> Float[Tensor, "batch 68 3"]:
    """The 68 iBUG landmarks (mm, in the head frame). These distances equal parameters exactly:

    along x, 31-35 nose_w, 48-54 mouth_w, 39-42 icd, 36-39 and 42-45 eye_w; along y, 27-8 face_h, 27-33
    nose_h, 33-62 ulip_h, 51-62 verm_u, 66-57 verm_l. The zygia (1, 15) and gonia (4, 12) lie on the smoothed
    outline, which differs by a few mm from face_w and jaw_w.
    """
    parts = (_jaw_points, _brow_points, _nose_points, _eye_points, _mouth_points)
    return torch.cat([part(head) for part in parts], 1)


def _points(x: Tensor, y: Tensor, z: Tensor) -> Float[Tensor, "batch points 3"]:
    return torch.stack(torch.broadcast_tensors(x, y, z), 2)


def _mirrored(points: Float[Tensor, "batch points 3"]) -> Float[Tensor, "batch points 3"]:
    return points * points.new_tensor([-1.0, 1.0, 1.0])


def _jaw_points(head: Head) -> Float[Tensor, "batch 17 3"]:
    """The outline from ear to ear: 1 and 15 at the zygia, 4 and 12 at the gonia, 8 on the chin."""
    top, zygion = torch.full_like(head.y.gonion, -4.0), torch.full_like(head.y.gonion, ZYGION)
    cheek = [lerp(zygion, head.y.gonion, share) for share in (0.0, 1 / 3, 2 / 3, 1.0)]
    below = [lerp(head.y.gnathion, head.y.gonion, share) for share in (0.70, 0.42, 0.18)]
    y = torch.cat([top, *cheek, *below], 1)
    at = loft(head.skull, y)
    right = _points(at.width * torch.sqrt((1 - caps(head.y, y)[1]).clamp(min=0)), y, at.widest_z)
    gnathion = head.y.gnathion
    chin = _points(torch.zeros_like(gnathion), gnathion, loft(head.skull, gnathion).widest_z)
    return torch.cat([_mirrored(right), chin, right.flip(1)], 1)


def _brow_points(head: Head) -> Float[Tensor, "batch 10 3"]:
    share = torch.linspace(0, 1, 5, device=head.p.icd.device)
    x = head.p.icd / 2 - 1 + share * (head.p.eye_w + 9)
    y = brow_line(head, x)[1]
    outwards = _points(x, y, front_z(head.skull, x, y))
    return torch.cat([_mirrored(outwards.flip(1)), outwards], 1)


def _nose_points(head: Head) -> Float[Tensor, "batch 9 3"]:
    """Four points down the bridge to the tip, then the base from ala to ala."""
    p, zero, base_y, base_z = head.p, torch.zeros_like(head.p.age), head.y.subnasale, head.subnasale_z
    root = _points(zero, zero + NASION, head.nasion_z + 1.5)
    tip = _points(zero, head.tip_y, head.tip_z + head.tip_r)
    bridge = [lerp(root, tip, share) for share in (0.0, 1 / 3, 2 / 3, 1.0)]
    nostril = _points(0.25 * p.nose_w, base_y + 1.5, base_z + 2)
    ala = _points(p.nose_w / 2, base_y + 7, base_z + 1.5)
    base = [_mirrored(ala), _mirrored(nostril), _points(zero, base_y, base_z), nostril, ala]
    return torch.cat([*bridge, *base], 1)


def _eye_points(head: Head) -> Float[Tensor, "batch 12 3"]:
    """The right-hand eye from its inner canthus over the upper lid and back below, and its mirror image."""
    t = torch.tensor([-1.0, -0.35, 0.35, 1.0, 0.35, -0.35], device=head.p.age.device)
    x = head.y.eye_x + t * head.p.eye_w / 2
    eye = eye_lines(head, x, torch.zeros_like(x))
    zero = torch.zeros_like(x[:, :1])
    upper, lower = eye.upper[:, 1:3], eye.lower[:, 4:]
    y = torch.cat([zero, upper, zero, lower], 1) + head.p.eye_tilt * eye.x
    right = _points(x, y, head.eye_z + torch.sqrt((149 - (0.8 * eye.x) ** 2).clamp(min=9)))
    return torch.cat([_mirrored(right[:, [3, 2, 1, 0, 5, 4]]), right], 1)


def _mouth_points(head: Head) -> Float[Tensor, "batch 20 3"]:
    """Outer border from the left corner over the upper lip and back below, then the inner border likewise."""
    outer = [-1, -0.55, -0.2, 0, 0.2, 0.55, 1, 0.55, 0.2, 0, -0.2, -0.55]
    t = head.p.age.new_tensor([*outer, -0.9, -0.3, 0, 0.3, 0.9, 0.3, 0, -0.3])
    x = t * head.y.mouth
    mouth = mouth_lines(head.p, head.n, head.y, x.abs())
    line, upper, lower, inner_upper, inner_lower = mouth[1:]
    outer = [line[:, :1], upper[:, 1:6], line[:, 6:7], lower[:, 7:12]]
    inner = [line[:, 12:13], inner_upper[:, 13:16], line[:, 16:17], inner_lower[:, 17:]]
    y = torch.cat([*outer, *inner], 1)
    return _points(x, y, front_z(head.skull, x, y) + 1.0)
