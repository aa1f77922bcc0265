"""Trained networks as ONNX files, for `exported` to run without torch."""

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from s2f.study.paths import replacing

OPSET = 17  # the first with GridSample, which warps, is 16


def export(
    network: nn.Module,
    example: Tensor,
    path: str | Path,
    outputs: Sequence[str],
    dynamic: Mapping[int, str],
) -> None:
    """Write a network of one input.

    Args:
        network: in evaluation mode, on the CPU.
        example: an input.
        path: of the file.
        outputs: the names of what the network returns.
        dynamic: dimensions of the input that may have any size, with their names; the first is the first of all outputs
            as well.
    """
    axes = {"input": dict(dynamic)} | ({name: {0: dynamic[0]} for name in outputs} if 0 in dynamic else {})
    file = io.BytesIO()
    with warnings.catch_warnings():
        # Checks of shapes are no part of the graph; and the exporter that replaces this one cannot follow a size that
        # depends on the input through CAM++.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        # The state of an LSTM is made by the size of its input here; a test gives it others.
        warnings.filterwarnings("ignore", "Exporting a model to ONNX with a batch_size other than 1", UserWarning)
        torch.onnx.register_custom_op_symbolic("aten::hypot", _hypot, OPSET)
        torch.onnx.export(
            network,
            (example,),
            file,
            input_names=["input"],
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    with replacing(path) as temporary:
        temporary.write_bytes(file.getvalue())


def _hypot(graph, one, other):
    return graph.op("Sqrt", graph.op("Add", graph.op("Mul", one, one), graph.op("Mul", other, other)))
