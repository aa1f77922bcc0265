"""The voice encoder's forward and backward pass in training, with few passes over the GPU's memory.

The same function as `VoiceEncoder` in training mode. What makes it fast:

- Batch normalisation multiplies and shifts each channel, and no convolution pads, so the convolution after it takes it
  over: with weights W scale and bias b + W shift it convolves what was not normalised. What is left of a block, from
  one convolution to the next, is bias, ReLU, the sums of each channel, and max pooling.
- That is one kernel forward and one backward, which read the output of the convolution and keep nothing beside it. The
  gradients of scale and shift are read off those of the folded weights.

The first convolution, of one or two channels, is a matrix product, which suits a GPU better.

Sums are taken in float32 and in one order, so a step repeats itself as far as the convolutions do.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Float32, Int16
from torch import Tensor, nn
from torch.nn import functional as F

from s2f.models.voice_encoder import VoiceEncoder
from s2f.signal.spectrograms import spectrograms

try:
    import triton
    from triton import language as tl
except ImportError:  # torch brings it on Linux with a GPU only
    triton = None

# Numbers that a kernel has in hand at a time, and how often, before it writes its sums; measured on an H200. Where it
# pools it has three times as many to hold.
TILES = {False: (4096, 16), True: (2048, 8)}
WARPS = 8
SMALL_BATCH = 16  # recordings: up to so many the kernels are short beside their launches


def forward(
    encoder: VoiceEncoder, spectrogram: Float[Tensor, "batch 2 frames 257"], dtype: torch.dtype
) -> Float32[Tensor, "batch feature_dim"]:
    """Predict face features in training mode, and update the statistics of batch normalisation.

    Args:
        encoder: A voice encoder with batch normalisation.
        spectrogram: Its input.
        dtype: In which convolutions and matrix products are computed.
    """
    if encoder.config.input == "magnitude":
        spectrogram = torch.hypot(spectrogram[:, :1], spectrogram[:, 1:])
    x = spectrogram.to(dtype)
    *blocks, (last_settings, last_conv, last_norm) = zip(
        encoder.config.convs, encoder.convs, encoder.norms, strict=True
    )
    first_settings, first_conv, _ = blocks[0]
    y, bias = _first_convolution(x, first_conv.weight.to(dtype), first_settings.stride), first_conv.bias
    following = [(conv, settings.stride) for settings, conv, _ in [*blocks[1:], (last_settings, last_conv, last_norm)]]
    for (settings, _, norm), (follower, stride) in zip(blocks, following, strict=True):
        x, total, squares = _Block.apply(y, bias, norm.weight.detach(), settings.pool)
        scale, shift = _scale_and_shift(norm, total, squares, y.numel() // y.shape[1])
        weight = follower.weight * scale[:, None, None]
        bias = follower.bias + (follower.weight * shift[:, None, None]).sum((1, 2, 3))
        y = F.conv2d(x, weight.to(dtype), None, stride)
    x = last_norm(F.relu(y.float().mean(dim=2, keepdim=True) + bias[:, None, None]))
    x = F.dropout(x.flatten(1), encoder.config.dropout, encoder.training)
    x = F.relu(_linear(encoder.fc1, x, dtype))
    x = F.dropout(x, encoder.config.dropout, encoder.training)
    return _linear(encoder.fc2, x, dtype).float()


def _first_convolution(
    x: Float[Tensor, "batch inputs frames bins"], weight: Float[Tensor, "channels inputs height width"], stride: int
) -> Float[Tensor, "batch channels _ _"]:
    """A convolution as a product of patches with the kernel, channels last."""
    _, _, height, width = weight.shape
    patches = x.unfold(2, height, stride).unfold(3, width, stride).permute(0, 2, 3, 1, 4, 5).flatten(3)
    return (patches @ weight.flatten(1).T).permute(0, 3, 1, 2)


def _linear(layer: nn.Linear, x: Tensor, dtype: torch.dtype) -> Tensor:
    return F.linear(x.to(dtype), layer.weight.to(dtype), layer.bias.to(dtype))


def _scale_and_shift(
    norm: nn.BatchNorm2d, total: Float32[Tensor, "channels"], squares: Float32[Tensor, "channels"], count: int
) -> tuple[Float32[Tensor, "channels"], Float32[Tensor, "channels"]]:
    """What batch normalisation multiplies by and adds, given a channel's `count` numbers and their squares, summed."""
    mean = total / count
    variance = (squares / count - mean.square()).clamp(min=0)
    with torch.no_grad():
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
        norm.num_batches_tracked += 1
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return scale, norm.bias - mean * scale


class Trainer:
    """Predicts the features of recordings by `forward`; small batches, once captured, as one CUDA graph each way.

    The kernels of a small batch take less time than it takes to launch them one by one. A graph works on the weights as
    they are at each call. Its gradients lie in the same place at each call, so they must be used before the next.
    """

    def __init__(self, dtype: torch.dtype):
        self.dtype = dtype
        self._captured: dict[torch.Size, Callable[[Tensor], Tensor]] = {}

    def capture(self, encoder: VoiceEncoder, waves: Int16[Tensor, "batch samples"]) -> None:
        """Make the graph for recordings of this shape, if they are few and on a GPU.

        Meanwhile no other thread may use the GPU, and no gradient of the encoder may be under way.
        """
        if not waves.is_cuda or len(waves) > SMALL_BATCH:
            return
        statistics = [value.clone() for value in encoder.buffers()]
        with torch.backends.cudnn.flags(enabled=True, benchmark=True):
            graph = torch.cuda.make_graphed_callables(_Waves(encoder, self.dtype), (waves,))
        for value, before in zip(encoder.buffers(), statistics, strict=True):
            value.copy_(before)  # which the rehearsals before the capture have changed
        self._captured[waves.shape] = graph

    def __call__(
        self, encoder: VoiceEncoder, waves: Int16[Tensor, "batch samples"], _precision: str
    ) -> Float32[Tensor, "batch feature_dim"]:
        if graph := self._captured.get(waves.shape):
            return graph(waves)
        return forward(encoder, spectrograms(waves), self.dtype)


class _Waves(nn.Module):
    def __init__(self, encoder: VoiceEncoder, dtype: torch.dtype):
        super().__init__()
        self.encoder, self.dtype = encoder, dtype

    def forward(self, waves: Int16[Tensor, "batch samples"]) -> Float32[Tensor, "batch feature_dim"]:
        return forward(self.encoder, spectrograms(waves), self.dtype)


class _Block(torch.autograd.Function):
    """max_pool(relu(y + bias)), and the sums of each channel of relu(y + bias) and of its square.

    Pooling keeps what will be the larger number after normalisation: the smaller one where `sign` is negative.
    """

    @staticmethod
    def forward(ctx, y, bias, sign, pool):
        ctx.save_for_backward(y, bias, sign)
        ctx.pool = pool
        return _forward_on_gpu(y, bias, sign, pool) if y.is_cuda else _forward(y, bias, sign, pool)

    @staticmethod
    def backward(ctx, d_out, d_total, d_squares):
        y, bias, sign = ctx.saved_tensors
        run = _backward_on_gpu if y.is_cuda else _backward
        d_y, d_bias = run(y, bias, sign, ctx.pool, d_out, d_total, d_squares)
        return d_y, d_bias, None, None


def _per_channel(values: Float[Tensor, "channels"]) -> Float[Tensor, "channels 1 1"]:
    return values[:, None, None]


def _forward(y: Tensor, bias: Tensor, sign: Tensor, pool: bool) -> tuple[Tensor, Tensor, Tensor]:
    """What the first kernel computes."""
    r = F.relu(y.float() + _per_channel(bias))
    flip = _per_channel(torch.where(sign < 0, -1.0, 1.0))
    out = F.max_pool2d(r * flip, (2, 1)) * flip if pool else r
    return out.to(y.dtype), r.sum((0, 2, 3)), r.square().sum((0, 2, 3))


def _backward(
    y: Tensor, bias: Tensor, sign: Tensor, pool: bool, d_out: Tensor, d_total: Tensor, d_squares: Tensor
) -> tuple[Tensor, Tensor]:
    """What the second kernel computes."""
    r = F.relu(y.float() + _per_channel(bias))
    d_r = d_out.float()
    if pool:
        frames = r.shape[2] // 2 * 2
        pairs = (r * _per_channel(torch.where(sign < 0, -1.0, 1.0)))[:, :, :frames].unflatten(2, (-1, 2))
        first = (pairs[:, :, :, 0] >= pairs[:, :, :, 1]).float()
        d_r = torch.stack([d_r * first, d_r * (1 - first)], dim=3).flatten(2, 3)
        d_r = F.pad(d_r, (0, 0, 0, r.shape[2] - frames))  # an odd last frame is not pooled, but it is counted
    d_r = d_r + _per_channel(d_total) + 2 * r * _per_channel(d_squares)
    d_y = d_r * (r > 0)
    return d_y.to(y.dtype), d_y.sum((0, 2, 3))


def _programs(y: Tensor, pool: bool) -> tuple[int, int, int, int]:
    """How many kernels run side by side, how many rows each has in hand at a time, how often, and how many there are.

    A row is the channels of a place, or of a pair of places that are pooled.
    """
    batch, channels, frames, bins = y.shape
    rows = batch * ((frames + 1) // 2 if pool else frames) * bins
    numbers, tiles = TILES[pool]
    block = max(numbers // channels, 1)
    return triton.cdiv(rows, block * tiles), block, tiles, rows


def _forward_on_gpu(y: Tensor, bias: Tensor, sign: Tensor, pool: bool) -> tuple[Tensor, Tensor, Tensor]:
    y = y.contiguous(memory_format=torch.channels_last)
    batch, channels, frames, bins = y.shape
    out = torch.empty(
        (batch, channels, frames // 2 if pool else frames, bins),
        dtype=y.dtype,
        device=y.device,
        memory_format=torch.channels_last,
    )
    programs, block, tiles, rows = _programs(y, pool)
    sums = torch.empty((2, programs, channels), device=y.device)
    _forward_kernel[(programs,)](
        y, bias, sign, out, sums, rows, frames, bins, programs, channels, pool, block, tiles, num_warps=WARPS
    )
    total, squares = sums.sum(dim=1)
    return out, total, squares


def _backward_on_gpu(
    y: Tensor, bias: Tensor, sign: Tensor, pool: bool, d_out: Tensor, d_total: Tensor, d_squares: Tensor
) -> tuple[Tensor, Tensor]:
    y, d_out = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (y, d_out))
    _, channels, frames, bins = y.shape
    d_y = torch.empty_like(y)
    programs, block, tiles, rows = _programs(y, pool)
    sums = torch.empty((programs, channels), device=y.device)
    _backward_kernel[(programs,)](
        y,
        bias,
        sign,
        d_out,
        d_total,
        d_squares,
        d_y,
        sums,
        rows,
        frames,
        bins,
        channels,
        pool,
        block,
        tiles,
        num_warps=WARPS,
    )
    return d_y, sums.sum(dim=0)


if triton is not None:

    @triton.jit
    def _places(m, keep, frames, bins, POOL: tl.constexpr):
        """Where the rows `m` lie in y and in the pooled output, and which have a second frame."""
        if POOL:
            pairs = (frames + 1) // 2
            group = m // bins
            sample = group // pairs
            pair = group % pairs
            first = (sample * frames + 2 * pair) * bins + m % bins
            pooled = (sample * (frames // 2) + pair) * bins + m % bins
            return first.to(tl.int64), pooled.to(tl.int64), keep & (2 * pair + 1 < frames)
        else:
            return m.to(tl.int64), m.to(tl.int64), keep

    @triton.jit
    def _forward_kernel(
        y, bias, sign, out, sums, rows, frames, bins, programs,
        C: tl.constexpr, POOL: tl.constexpr, BLOCK: tl.constexpr, TILES: tl.constexpr,
    ):  # fmt: skip
        program = tl.program_id(0)
        c = tl.arange(0, C)[None, :]
        b = tl.load(bias + c)
        negative = tl.load(sign + c) < 0
        total = tl.zeros([BLOCK, C], tl.float32)
        squares = tl.zeros([BLOCK, C], tl.float32)
        for tile in range(TILES):
            m = (program * TILES + tile) * BLOCK + tl.arange(0, BLOCK)
            keep = m < rows
            first, place, paired = _places(m, keep, frames, bins, POOL)
            at = first[:, None] * C + c
            r = tl.maximum(tl.load(y + at, mask=keep[:, None], other=0.0).to(tl.float32) + b, 0.0)
            r = tl.where(keep[:, None], r, 0.0)
            total += r
            squares += r * r
            if POOL:
                s = tl.load(y + at + bins * C, mask=paired[:, None], other=0.0).to(tl.float32)
                s = tl.where(paired[:, None], tl.maximum(s + b, 0.0), 0.0)
                total += s
                squares += s * s
                r = tl.where(negative, tl.minimum(r, s), tl.maximum(r, s))
            tl.store(out + place[:, None] * C + c, r.to(out.dtype.element_ty), mask=paired[:, None])
        ends = program * C + tl.arange(0, C)
        tl.store(sums + ends, tl.sum(total, 0))
        tl.store(sums + programs * C + ends, tl.sum(squares, 0))

    @triton.jit
    def _backward_kernel(
        y, bias, sign, d_out, d_total, d_squares, d_y, sums, rows, frames, bins,
        C: tl.constexpr, POOL: tl.constexpr, BLOCK: tl.constexpr, TILES: tl.constexpr,
    ):  # fmt: skip
        program = tl.program_id(0)
        c = tl.arange(0, C)[None, :]
        b = tl.load(bias + c)
        negative = tl.load(sign + c) < 0
        of_total = tl.load(d_total + c)
        of_squares = 2 * tl.load(d_squares + c)
        total = tl.zeros([BLOCK, C], tl.float32)
        for tile in range(TILES):
            m = (program * TILES + tile) * BLOCK + tl.arange(0, BLOCK)
            keep = m < rows
            first, place, paired = _places(m, keep, frames, bins, POOL)
            at = first[:, None] * C + c
            r = tl.maximum(tl.load(y + at, mask=keep[:, None], other=0.0).to(tl.float32) + b, 0.0)
            d = tl.load(d_out + place[:, None] * C + c, mask=paired[:, None], other=0.0).to(tl.float32)
            if POOL:
                s = tl.load(y + at + bins * C, mask=paired[:, None], other=0.0).to(tl.float32)
                s = tl.maximum(s + b, 0.0)
                second = tl.where(negative, s < r, s > r)
                d_s = tl.where(second, d, 0.0) + of_total + of_squares * s
                d_s = tl.where((s > 0) & paired[:, None], d_s, 0.0)
                tl.store(d_y + at + bins * C, d_s.to(d_y.dtype.element_ty), mask=paired[:, None])
                total += d_s
                d = tl.where(second, 0.0, d)
            d_r = tl.where((r > 0) & keep[:, None], d + of_total + of_squares * r, 0.0)
            tl.store(d_y + at, d_r.to(d_y.dtype.element_ty), mask=keep[:, None])
            total += d_r
        tl.store(sums + program * C + tl.arange(0, C), tl.sum(total, 0))
