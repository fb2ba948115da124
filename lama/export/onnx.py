"""ONNX, through torch's dynamo exporter; needs the extra ``export``.

Opset 18: the older exporter has no Fourier transform, and ONNX Runtime 1.32 fails on the DFT of opset 20 and later.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lama.export.pt2 import program

SUFFIX = ".onnx"
PACKAGES: tuple[str, ...] = ("onnx", "onnxscript", "onnxruntime")
FFT = "matmul"  # of the runtimes that were tried only ONNX Runtime computes DFT: ``lama bench export``
SNIPPET = """import onnxruntime
session = onnxruntime.InferenceSession({file!r})
{output} = session.run(None, {feed})[0]"""
OPSET = 18
_AXES = {0: "batch", 2: "height", 3: "width"}


def dump(network: nn.Module, example: tuple[Tensor, ...], metadata: Mapping[str, str], names: Sequence[str]) -> bytes:
    """The content of the file; ``names``: of the inputs, then of the output."""
    import onnx

    exported = torch.onnx.export(
        program(network, example),
        example,
        dynamo=True,
        opset_version=OPSET,
        input_names=list(names[:-1]),
        output_names=[names[-1]],
        verbose=False,
    )
    assert exported is not None
    model = exported.model_proto
    for value in (*model.graph.input, *model.graph.output):
        for axis, name in _AXES.items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    del model.graph.value_info[:]  # intermediate shapes in the exporter's axis names; runtimes infer their own
    for node in model.graph.node:
        del node.metadata_props[:]  # the exporter's traces: more than a megabyte, with names of files on this machine
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def read(path: Path | bytes) -> Callable[..., Tensor]:
    """The runnable file, or its content: tensors in the order of the contract -> the output, (B, 3, H, W) float32."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]

    def run(*tensors: Tensor) -> Tensor:
        feed = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
        return torch.from_numpy(session.run(None, feed)[0])

    return run
