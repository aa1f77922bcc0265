"""Networks as ONNX files, run by onnxruntime: to draw a face, nobody waits for torch. `exporting` writes them."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from s2f.study.paths import UserError


class Network:
    """A network of an ONNX file, on one thread of the CPU, so that its results do not depend on the number of cores."""

    def __init__(self, path: str | Path) -> None:
        """UserError if the file is missing or no network."""
        import onnxruntime  # slow to import

        if not Path(path).is_file():
            raise UserError(f"There is no network {path}: run the stage that writes it, or mend the name.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        try:
            # As bytes: its own reader takes no name in another encoding.
            self._session = onnxruntime.InferenceSession(
                Path(path).read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            # Its exceptions have no other common class, and come from one module.
            if type(error).__module__.startswith("onnxruntime"):
                raise UserError(f"{path} is damaged or no ONNX network: make it again.") from None
            raise

    def __call__(self, *inputs: Float32[np.ndarray, "..."]) -> list[Float32[np.ndarray, "..."]]:
        """The outputs, in the order in which they were exported."""
        names = (argument.name for argument in self._session.get_inputs())
        return self._session.run(None, dict(zip(names, inputs, strict=True)))
