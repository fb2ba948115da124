"""Weights of an ONNX file in 8 bits: a quarter of the size. The computation stays in float32.

Each output channel of a convolution has a scale of its own: w = scale * q with q from -127 to 127 (Krishnamoorthi,
"Quantizing deep convolutional networks for efficient inference", 2018, section 3.1.1, without a zero point). The first
and the last convolution, which touch the pixels, and small tensors keep float32.
"""

from typing import Any

import numpy as np

_LEAST = 4096  # values of a tensor that is stored in 8 bits


def with_int8_weights(content: bytes) -> bytes:
    """An ONNX file, as bytes -> the same with ``DequantizeLinear`` between stored weights and convolutions."""
    import onnx

    model = onnx.load_from_string(content)
    graph = model.graph
    axes = {node.input[1]: 1 if node.op_type == "ConvTranspose" else 0 for node in graph.node if "Conv" in node.op_type}
    kept = [name for name in axes if any(tensor.name == name for tensor in graph.initializer)]
    decoders = []
    for tensor in list(graph.initializer):
        if len(tensor.dims) != 4 or tensor.name in (kept[0], kept[-1]):
            continue
        weights = onnx.numpy_helper.to_array(tensor)
        if weights.dtype != np.float32 or weights.size < _LEAST:
            continue
        decoders.append(_decoder(onnx, graph, tensor.name, weights, axes.get(tensor.name, 0)))
        graph.initializer.remove(tensor)
    for position, decoder in enumerate(decoders):
        graph.node.insert(position, decoder)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def _decoder(onnx: Any, graph: Any, name: str, weights: np.ndarray[Any, Any], axis: int) -> Any:
    """Store ``weights`` in 8 bits; the node that gives them back under ``name``."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    scale = np.maximum(np.abs(weights).max(axis=others, keepdims=True) / 127, np.finfo(np.float32).tiny)
    values = np.rint(weights / scale).astype(np.int8)
    names = [f"{name}.int8", f"{name}.scale"]
    for stored, array in zip(names, (values, scale.astype(np.float32).ravel()), strict=True):
        graph.initializer.append(onnx.numpy_helper.from_array(array, stored))
    return onnx.helper.make_node("DequantizeLinear", names, [name], axis=axis)
