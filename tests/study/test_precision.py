"""Arithmetic in low precision."""

import torch

from s2f.study import precision

CPU = torch.device("cpu")


def test_low_precision_is_used_where_asked_for():
    for wanted, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        with precision.low_precision(CPU, wanted):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
