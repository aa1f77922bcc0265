"""Arithmetic in bfloat16 where the hardware has it."""

import torch


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device has it in hardware, otherwise float32."""
    has_bfloat16 = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if has_bfloat16 else torch.float32


def wanted_dtype(device: torch.device, precision: str) -> torch.dtype:
    """bfloat16 where it is asked for, or, with `auto`, where the device has it in hardware; otherwise float32."""
    return fast_dtype(device) if precision == "auto" else getattr(torch, precision)


def low_precision(device: torch.device, precision: str) -> torch.autocast:
    """bfloat16 in the block where `wanted_dtype` is."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted_dtype(device, precision) == torch.bfloat16)
