"""The formats: how a graph is written and quantised, and how its file is run.

The packages are optional (requirements-export.txt): functions import them.
"""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from splade_sts.errors import UserError
from splade_sts.export.graph import INPUTS, OUTPUT

REQUIREMENTS = "requirements-export.txt"
# Token ids and attention mask of sentences, by the names of `INPUTS`: int64 (sentences, length).
Batch = dict[str, NDArray[np.int64]]
# The vectors of a batch: float32 (sentences, vocabulary).
Run = Callable[[Batch], NDArray[np.float32]]
NO_LIMIT = sys.maxsize


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        file: name of the file that is loaded.
        packages: what writing and running it needs.
        write: writes the graph to a path; with batches to calibrate on, in 8 bits.
        open: a file as a function, on so many threads.
    """

    file: str
    packages: tuple[str, ...]
    write: Callable[[torch.export.ExportedProgram, Path, list[Batch] | None], None]
    open: Callable[[Path, int], Run]


def check_packages(name: str, int8: bool) -> None:
    """Raise `UserError` where packages that a format needs are not installed."""
    needed = [*FORMATS[name].packages, *(["nncf"] if int8 else [])]
    if missing := [package for package in needed if find_spec(package) is None]:
        raise UserError(
            f"export to {name} needs {', '.join(missing)}, not installed here: "
            f"pip install -r {REQUIREMENTS}"
        )


@contextmanager
def quietly() -> Iterator[None]:
    """What the packages print goes to stderr, and what is for their developers nowhere.

    OpenVINO and NNCF report their use to their makers where `openvino_telemetry` can be imported;
    here it cannot.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # Python's way to say so
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def write_onnx(
    program: torch.export.ExportedProgram, path: Path, calibration: list[Batch] | None
) -> None:
    """One ONNX file, the weights inside."""
    exported: Any = torch.onnx.export(
        program,
        input_names=list(INPUTS),
        output_names=[OUTPUT],
        dynamic_shapes={name: {0: "batch", 1: "length"} for name in INPUTS},
        dynamo=True,
        verbose=False,
    )
    if calibration is None:
        exported.save(path, external_data=False)
        return
    import onnx
    from onnxscript import optimizer

    # NNCF looks for the weight of a product right at the product: the decoder, whose weight is that
    # of the embeddings transposed, gets one of its own.
    optimizer.fold_constants(exported.model, input_size_limit=NO_LIMIT, output_size_limit=NO_LIMIT)
    onnx.save(_quantised(exported.model_proto, calibration), path)


def write_openvino(
    program: torch.export.ExportedProgram, path: Path, calibration: list[Batch] | None
) -> None:
    """A pair of files, .xml and .bin, the weights in float32 or 8 bits."""
    import openvino

    model = openvino.convert_model(program)
    model.outputs[0].get_tensor().set_names({OUTPUT})
    if calibration is not None:
        model = _quantised(model, calibration)
    openvino.save_model(model, path, compress_to_fp16=False)


def _quantised(model: Any, calibration: list[Batch]) -> Any:
    """Products in 8 bits, weights and activations, with scales that the batches give once.

    Scales that each batch gives anew (`onnxruntime.quantization.quantize_dynamic`) make a vector
    depend on the other sentences of the batch.
    """
    import nncf

    nncf.set_log_level(logging.ERROR)
    return nncf.quantize(
        model,
        nncf.Dataset(calibration),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(calibration),
    )


def open_onnx(path: Path, threads: int) -> Run:
    """ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(batch: Batch) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = session.run([OUTPUT], batch)[0]
        return vectors

    return run


def open_openvino(path: Path, threads: int, precision: str = "f32") -> Run:
    """OpenVINO on the CPU.

    Args:
        path: the .xml file.
        threads: how many.
        precision: of what is not in 8 bits. OpenVINO's own default is bfloat16 where the CPU
            multiplies it natively, which moves weights by more than the check allows.
    """
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(path, "CPU", settings)

    def run(batch: Batch) -> NDArray[np.float32]:
        # a copy: OpenVINO hands out memory that the next call writes to
        return np.array(compiled(batch)[OUTPUT], dtype=np.float32)

    return run


FORMATS = {
    "onnx": Format("model.onnx", ("onnx", "onnxscript", "onnxruntime"), write_onnx, open_onnx),
    "openvino": Format("model.xml", ("openvino",), write_openvino, open_openvino),
}
