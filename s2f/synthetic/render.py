"""Pictures of parametric heads: camera, ray marching, light and ground, with the 68 landmarks of each face.

`render` without nuisances draws the canonical picture of the paper (sec. 3): frontal, neutral, in even light.
Everything runs in batched 32-bit torch on the device of the parameters. Random numbers come from generators
of the CPU, one a face, so a picture does not depend on its batch. One thread is fastest: the steps are small.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from s2f.study.paths import UserError
from s2f.synthetic.head import (
    NASION,
    NUISANCE,
    PARAMETERS,
    Head,
    Identity,
    Nuisance,
    Points,
    Values,
    build,
    distance,
    length,
    lerp,
    unit,
)
from s2f.synthetic.skin import Colour, Light, landmarks, noise, paint, power, rgb, shade

PIVOT = (0.0, -20.0, 10.0)  # mm: the point that turns stay about
SIDE = 208.0  # mm: side of the picture
HAIRLINE = 68.0  # mm above the eye line, of an average face
BOUNDS = {  # beyond which a random nuisance must not go
    "yaw": (-0.7, 0.7), "pitch": (-0.3, 0.3), "roll": (-0.4, 0.4), "persp": (0.0, 0.0015), "zoom": (0.7, 1.4),
    "lz": (0.3, 2.0), "key": (0.1, 1.5), "warm": (-1.0, 1.0), "amb": (0.1, 0.8), "smile": (-0.4, 1.2),
    "open": (0.0, 1.0), "blink": (0.0, 1.0), "noise": (0.0, 0.2), "bg0": (0.03, 0.95), "bg1": (0.03, 0.95),
    "bg2": (0.03, 0.95), "cloth0": (0.03, 0.95), "cloth1": (0.03, 0.95), "cloth2": (0.03, 0.95),
}  # fmt: skip
GAMMA = 2.2
CHUNK = 256  # faces whose heads are in memory at once
START, STOP = -135.0, 190.0  # mm along a ray
SETTLED = 0.03  # mm: a ray so near a surface goes no further
REVIEW = 3  # steps after which rays that rest are taken out
LANES = 64  # numbers that fill whole vector registers on any processor


class Rendered(NamedTuple):
    """Pictures in RGB, 0 to 1, and the 68 landmarks of iBUG in pixels (x right, y down)."""

    image: Float[Tensor, "batch 3 size size"]
    landmarks: Float[Tensor, "batch 68 2"]


@dataclass(frozen=True)
class Camera:
    """Rotation of the head into the camera's frame, mm per picture side, centre (mm), 1 / distance (1/mm)."""

    rotation: Float[Tensor, "batch 3 3"]
    side: Values
    centre_x: Values
    centre_y: Values
    persp: Values


@dataclass(frozen=True)
class Rays:
    """A ray for each pixel, row by row, in the head's frame (mm)."""

    origin: Float[Tensor, "batch 3 points"]
    direction: Float[Tensor, "batch 3 points"]

    def at(self, t: Points) -> list[Points]:
        return list((self.origin + self.direction * t[:, None]).unbind(1))

    def some(self, columns: Tensor) -> "Rays":
        """Those in some columns, other ones of each face."""
        each = columns[:, None].expand(-1, 3, -1)
        return Rays(self.origin.gather(2, each), self.direction.gather(2, each))


@dataclass(frozen=True)
class March:
    """Where rays stopped: t, the distance left there, whether it is a hit (a miss: the closest approach)."""

    t: Points
    left: Points
    hit: Tensor


@torch.no_grad()
def render(
    identity: dict[str, Tensor],
    nuisance: dict[str, Tensor] | None = None,
    size: int = 64,
    *,
    chunk: int = 16,
) -> Rendered:
    """Pictures of faces and their landmarks, on the device of `identity`.

    Args:
        identity: every one of `PARAMETERS`, (batch,) each.
        nuisance: any of `NUISANCE`, (batch,) each; the others are canonical.
        size: side of the picture, px; it shows `SIDE` mm, centred on the face, as if the camera's distance were known.
        chunk: faces rendered at a time; it changes no bit of the result.

    Landmarks are anatomical points: a turned head may hide them, and a shifted picture cut them off.

    Raises:
        UserError: for a parameter missing, unknown, not finite or out of its range, or a wrong shape or size.
    """
    # So that the points of a face fill whole vector registers, also at half size: no chunk changes a bit.
    if size < 16 or size % 16:
        raise UserError(f"The size of a picture must be a multiple of 16 pixels, not {size}.")
    if chunk < 1:
        raise UserError(f"The chunk must be at least 1 face, not {chunk}.")
    identity, nuisance = _checked(identity, nuisance or {})
    parts = []
    for start in range(0, len(identity["age"]), chunk):
        p = Identity(**{name: values[start : start + chunk] for name, values in identity.items()})
        n = Nuisance(**{name: values[start : start + chunk] for name, values in nuisance.items()})
        parts.append(_render(p, n, size))
    images, landmarks = zip(*parts, strict=True)
    return Rendered(torch.cat(images), torch.cat(landmarks))


@torch.no_grad()
def canonical_landmarks(identity: dict[str, Tensor], size: int = 64) -> Float[Tensor, "batch 68 2"]:
    """The landmarks that `render` gives with the canonical picture, without the picture."""
    identity, nuisance = _checked(identity, {})

    def of(rows: slice) -> Tensor:
        p, n = Identity(**_rows(identity, rows)), Nuisance(**_rows(nuisance, rows))
        return _project(_camera(p, n), landmarks(build(p, n)), size)

    faces = len(identity["age"])
    return torch.cat([of(slice(start, start + CHUNK)) for start in range(0, faces, CHUNK)])


def _rows(parameters: dict[str, Tensor], rows: slice) -> dict[str, Tensor]:
    return {name: values[rows] for name, values in parameters.items()}


def _checked(identity: dict[str, Tensor], nuisance: dict[str, Tensor]) -> tuple[dict, dict]:
    """Complete parameters as float32 columns [batch, 1] on one device, the nuisances filled up."""
    for name in PARAMETERS:
        if name not in identity:
            raise UserError(f"The face parameter {name!r} is missing.")
    for name in [*identity, *nuisance]:
        if name not in PARAMETERS and name not in NUISANCE:
            raise UserError(f"{name!r} is no parameter of a face.")
    age = identity["age"]
    if age.ndim != 1 or len(age) == 0:
        raise UserError(f"A face parameter must be a vector with one value a face, not {tuple(age.shape)}.")
    for name, values in [*identity.items(), *nuisance.items()]:
        if values.shape != age.shape:
            raise UserError(f"{name!r} has shape {tuple(values.shape)}, but 'age' has {tuple(age.shape)}.")
        if not bool(values.isfinite().all()):
            raise UserError(f"{name!r} holds values that are not finite.")
    for name, (_, _, _, low, high) in PARAMETERS.items():
        if bool(((identity[name] < low) | (identity[name] > high)).any()):
            raise UserError(f"{name!r} must lie between {low} and {high}: clip it to that range.")
    canonical = {name: torch.full_like(age, value) for name, value in NUISANCE.items()}
    columns = {**canonical, **nuisance, **identity}
    columns = {name: values.to(age.device, torch.float32)[:, None] for name, values in columns.items()}
    return {name: columns[name] for name in PARAMETERS}, {name: columns[name] for name in NUISANCE}


def _render(p: Identity, n: Nuisance, size: int) -> tuple[Tensor, Tensor]:
    head = build(p, n)
    camera = _camera(p, n)
    pixel = camera.side / size
    rays, march, inside = _find_surface(head, camera, size)
    x, y, z = rays.at(march.t)
    normal = _normals(head, x, y, z, march.left, pixel)
    to_light = unit(torch.stack([n.lx, n.ly, n.lz], 1))
    seen_light = camera.rotation.transpose(1, 2) @ to_light
    sky, lit = _shadows(head, torch.stack([x, y, z], 1), normal, seen_light, size)
    cloth = power(torch.stack([n.cloth0, n.cloth1, n.cloth2], 1), GAMMA)
    surface = paint(head, x, y, z, cloth, pixel)
    light = Light(to_light, n.key, n.warm, n.amb)
    colour = shade(surface, light, camera.rotation @ normal, camera.rotation[:, :, 1:2], sky, lit)
    cover = torch.where(inside | march.hit, 1.0, (1.15 - march.left / pixel).clamp(0, 1))
    if bool((n.glasses > 0).any()):
        colour, cover = _put_on_glasses(head, n.glasses, rays, march.t, pixel, colour, cover)
    image = lerp(_ground(n, size), colour, cover[:, None]).clamp(min=1e-5)
    image = (1.36 * image * (1 + image / 3.2) / (1 + image)).clamp(0, 1)  # a soft shoulder, as film has
    image = image.unflatten(2, (size, size)) ** (1 / GAMMA)
    return _add_grain(image, n), _project(camera, landmarks(head), size)


def _camera(p: Identity, n: Nuisance) -> Camera:
    cos_y, sin_y, cos_p, sin_p = n.yaw.cos(), n.yaw.sin(), n.pitch.cos(), n.pitch.sin()
    cos_r, sin_r, one, zero = n.roll.cos(), n.roll.sin(), torch.ones_like(n.yaw), torch.zeros_like(n.yaw)
    roll = torch.cat([cos_r, -sin_r, zero, sin_r, cos_r, zero, zero, zero, one], 1).view(-1, 3, 3)
    pitch = torch.cat([one, zero, zero, zero, cos_p, -sin_p, zero, sin_p, cos_p], 1).view(-1, 3, 3)
    yaw = torch.cat([cos_y, zero, sin_y, zero, one, zero, -sin_y, zero, cos_y], 1).view(-1, 3, 3)
    chin = NASION - p.face_h
    side = torch.full_like(chin, SIDE)
    return Camera(roll @ pitch @ yaw, side / n.zoom, n.dx, n.dy + (HAIRLINE + chin) / 2, n.persp)


def _rays(camera: Camera, size: int) -> Rays:
    step = (torch.arange(size, device=camera.side.device) + 0.5) / size - 0.5
    v, u = [grid.reshape(1, -1) for grid in torch.meshgrid(-step, step, indexing="ij")]
    u, v = u * camera.side + camera.centre_x, v * camera.side + camera.centre_y - PIVOT[1]
    origin = torch.stack([u, v, torch.zeros_like(u)], 1)
    direction = torch.stack([u * camera.persp, v * camera.persp, -torch.ones_like(u)], 1)
    to_head = camera.rotation.transpose(1, 2)
    return Rays(to_head @ origin + rgb(u, *PIVOT), to_head @ direction)


def _project(camera: Camera, points: Float[Tensor, "batch 68 3"], size: int) -> Float[Tensor, "batch 68 2"]:
    x, y, z = ((points - points.new_tensor(PIVOT)) @ camera.rotation.transpose(1, 2)).unbind(2)
    nearer = 1 - camera.persp * z
    right, up = x / nearer - camera.centre_x, y / nearer + PIVOT[1] - camera.centre_y
    return torch.stack([right, -up], 2) / camera.side[..., None] * size + size / 2


def _march(
    head: Head, rays: Rays, t: Points, steps: int, least: float, hit_at: Values, behind: Points | None = None
) -> March:
    """Sphere tracing with a least step; past a surface the step is negative, so an overshoot comes back.

    Rays that have not hit after two steps jump to `behind`: they have passed a near edge. Those that have arrived, or
    left the scene, rest; after every few steps they are taken out, so that the others are computed alone.
    """
    found = March(t.clone(), torch.full_like(t, 1e9), torch.zeros_like(t, dtype=torch.bool))
    columns = torch.arange(t.shape[1], device=t.device).expand_as(t)
    best_t, best, hit = found.t, found.left, found.hit
    moving = torch.ones_like(hit)
    for step in range(steps):
        if step > 0:
            ahead = torch.where(hit, t + left, (t + (1.25 * left).clamp_(min=least)).clamp_(max=STOP))
            t = torch.where(moving, ahead, t)
        if step == 2 and behind is not None:
            t = torch.where(hit, t, torch.maximum(t, behind))
        left = distance(head, *rays.at(t))
        hit = left < hit_at
        better = (left < best) | hit
        best, best_t = torch.where(better, left, best), torch.where(better, t, best_t)
        if step % REVIEW == REVIEW - 1 or step == steps - 1:
            for whole, part in ((found.t, best_t), (found.left, best), (found.hit, hit)):
                whole.scatter_(1, columns, part)
            moving = moving & torch.where(hit, left.abs() > SETTLED, t < STOP)
            count = math.ceil(int(moving.sum(1).max()) / LANES) * LANES
            if count == 0:
                break
            if count < moving.shape[1]:
                first = moving.byte().argsort(dim=1, descending=True, stable=True)[:, :count]
                state = (t, left, best_t, best, hit, moving, columns)
                t, left, best_t, best, hit, moving, columns = (values.gather(1, first) for values in state)
                rays = rays.some(first)
    return found


def _find_surface(head: Head, camera: Camera, size: int) -> tuple[Rays, March, Tensor]:
    """March at half size, then a few steps at full size from there; also which pixels are well inside."""
    half, pixel = size // 2, camera.side / size
    rays = _rays(camera, half)
    start = torch.full_like(rays.origin[:, 0], START)
    coarse = _march(head, rays, start, 15, 5.0, 0.6 * pixel)
    depth = _as_image(coarse.t, half)
    nearest, farthest = -F.max_pool2d(-depth, 3, 1, 1), F.max_pool2d(depth, 3, 1, 1)
    smooth = _enlarge(farthest - nearest, size) < 14 * 2 * pixel
    # At an edge of the depth no blend of its sides is right: start from the nearer, fall back on the farther.
    start = torch.where(smooth, _enlarge(depth, size, "bilinear"), _enlarge(nearest, size))
    solid = F.max_pool2d(_as_image(coarse.hit.float(), half), 3, 1, 1)
    solid = 1 - F.max_pool2d(F.pad(1 - solid, (2, 2, 2, 2), value=1.0), 5, 1)
    rays = _rays(camera, size)
    march = _march(head, rays, start, 6, 2.5, 0.25 * pixel, _enlarge(depth, size) - 1.0)
    return rays, march, _enlarge(solid, size) > 0.5


def _as_image(values: Tensor, size: int) -> Float[Tensor, "batch channels size size"]:
    return values.reshape(len(values), -1, size, size)


def _enlarge(images: Float[Tensor, "batch channels rows columns"], size: int, mode="nearest") -> Tensor:
    """Images at another size, [batch, channels, points], or [batch, points] if there is one channel."""
    flat = F.interpolate(images, size=(size, size), mode=mode).flatten(2)
    return flat[:, 0] if flat.shape[1] == 1 else flat


def _normals(head: Head, x: Points, y: Points, z: Points, here: Points, pixel: Values) -> Colour:
    step = 0.9 + 0.25 * pixel
    ahead = [distance(head, x + step, y, z), distance(head, x, y + step, z), distance(head, x, y, z + step)]
    return unit(torch.stack([there - here for there in ahead], 1))


def _shadows(head: Head, points: Colour, normal: Colour, to_light: Tensor, size: int) -> tuple[Points, Points]:
    """Ambient occlusion (1 is open sky) and soft shadow (1 is lit): both smooth, so found at half size."""
    points, normal = [F.avg_pool2d(_as_image(value, size), 2).flatten(2) for value in (points, normal)]
    normal = unit(normal)
    sky, lit = torch.ones_like(points[:, 0]), torch.ones_like(points[:, 0])
    for reach, weight in ((5.0, 0.5), (14.0, 0.5), (38.0, 0.4)):
        free = distance(head, *(points + normal * reach).unbind(1)) / reach
        sky = sky - weight * (1 - free).clamp(0, 1)
    for reach in (6.0, 16.0, 36.0):
        free = distance(head, *(points + normal * 2.5 + to_light * reach).unbind(1))
        lit = torch.minimum(lit, 0.5 + free / (0.35 * reach + 2))
    both = torch.stack([sky.clamp(0.12, 1), lit.clamp(0, 1)], 1)
    sky, lit = _enlarge(_as_image(both, size // 2), size, "bilinear").unbind(1)
    return sky, lit


def _put_on_glasses(
    head: Head, glasses: Values, rays: Rays, t: Points, pixel: Values, colour: Colour, cover: Points
) -> tuple[Colour, Points]:
    """Frames and slightly grey lenses on a plane before the eyes."""
    plane = (head.eye_z + 19.5 - rays.origin[:, 2]) / rays.direction[:, 2]
    x, y, _ = rays.at(plane)
    ax, middle = x.abs(), head.y.eye_x + 1
    across, along = (ax - middle).abs() - 13.0, (y + 3).abs() - 6.0
    lens = length(across.clamp(min=0), along.clamp(min=0)) + torch.maximum(across, along).clamp(max=0) - 11.0
    bridge, temple = ax - middle + 24, torch.maximum(middle + 24 - ax, ax - head.p.face_w / 2 + 2)
    bar = torch.maximum((y - 4).abs() - 1.3, torch.minimum(bridge, temple))
    frame = (0.5 - torch.minimum(lens.abs() - 1.3, bar) / pixel).clamp(0, 1) * glasses * (plane < t + 2)
    tinted = colour * (1 - 0.1 * (lens < 0) * glasses)[:, None]
    return lerp(tinted, 0.03, frame[:, None]), torch.maximum(cover, frame)


def _ground(n: Nuisance, size: int) -> Colour:
    """The background: a colour, with a gradient and clouds as `bgv` asks."""
    step = torch.linspace(-0.5, 0.5, size, device=n.seed.device)
    y, x = [grid.reshape(1, -1) for grid in torch.meshgrid(step, step, indexing="ij")]
    clouds = noise(x * 0.25 + n.seed, y * 0.25 + 0.5 * n.seed)
    change = n.bgv * (x * torch.sin(9 * n.seed) - y + 1.2 * clouds)
    colour = power(torch.stack([n.bg0, n.bg1, n.bg2], 1), GAMMA)
    return (colour * (1 + change)[:, None]).clamp(0, 1)


def _add_grain(image: Tensor, n: Nuisance) -> Tensor:
    """The camera's noise, from a generator for each face."""
    if not bool((n.noise > 0).any()):
        return image
    seeds = [int(seed * 1e6) for seed in n.seed[:, 0].tolist()]
    grain = [torch.randn(image.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return (image + n.noise[..., None, None] * torch.stack(grain).to(image.device)).clamp(0, 1)


def sample_nuisance(n: int, seed: int | torch.Generator, spread: float | int = 1.0) -> dict[str, Float[Tensor, " n"]]:
    """Nuisances of `n` snapshots, on the CPU: pose, camera, light, expression, glasses, ground, clothes.

    `spread` scales every deviation from the canonical picture, and the share of glasses: 0 is canonical, 1 a
    crowd of snapshots. What would break the head or blind the camera stays bounded whatever the spread.
    """
    if spread < 0:
        raise UserError(f"The spread of the nuisances must not be negative, but it is {spread}.")
    generator = torch.Generator().manual_seed(seed) if isinstance(seed, int) else seed

    def normal(sd: float) -> Tensor:
        return sd * torch.randn(n, generator=generator)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    brightness = uniform(0.1, 0.85)
    drawn = {
        "yaw": normal(0.28), "pitch": normal(0.12), "roll": normal(0.08),
        "persp": uniform(0.0003, 0.0012), "zoom": uniform(0.9, 1.12), "dx": normal(4.0), "dy": normal(4.0),
        "lx": normal(0.8), "ly": uniform(-0.1, 1.0), "lz": uniform(0.5, 1.1),
        "key": uniform(0.5, 0.95), "warm": normal(0.6), "amb": uniform(0.22, 0.5),
        "smile": uniform(-0.25, 1.0), "open": uniform(-1.0, 0.8).clamp(min=0), "gaze": normal(0.35),
        "blink": uniform(-1.0, 0.25).clamp(min=0), "brow": uniform(-0.5, 1.0),
        "noise": uniform(0.0, 0.03), "bgv": uniform(0.0, 0.4), "seed": uniform(0.0, 10.0),
        "bg0": brightness + normal(0.12), "bg1": brightness + normal(0.12), "bg2": brightness + normal(0.12),
        "cloth0": uniform(0.05, 0.9), "cloth1": uniform(0.05, 0.9), "cloth2": uniform(0.05, 0.9),
    }  # fmt: skip
    nuisance = {name: NUISANCE[name] + spread * (values - NUISANCE[name]) for name, values in drawn.items()}
    for name, (low, high) in BOUNDS.items():
        nuisance[name] = nuisance[name].clamp(low, high)
    # Worn or not: a share of the faces, not half-transparent frames.
    nuisance["glasses"] = (uniform(0.0, 1.0) < 0.2 * spread).float()
    return {name: nuisance[name] for name in NUISANCE}
