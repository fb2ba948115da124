"""A network of one line, as a torch module and as an ONNX file by the contract of ``lama export``.

Inside the hole it gives 0.2 plus the mean of the masked image over the window, so the result depends on the window.
"""

import onnx
import torch
from onnx import helper
from torch import nn


class Toy(nn.Module):
    """(B, 4, H, W) -> (B, 3, H, W): half of the masked image, plus its mean, plus 0.2 in the hole."""

    pad_multiple, min_size, config = 8, 1, {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        masked, hole = x[:, :3], x[:, 3:]
        return 0.5 * masked + masked.mean(dim=(2, 3), keepdim=True) + 0.2 * hole


def write(path, names=("image", "mask", "completed"), offset=0.2):
    """The file of ``Toy``, in milliseconds; ``names`` of the inputs and the output."""
    image, mask, completed = names
    nodes = [
        helper.make_node("Greater", [mask, "zero"], ["above"]),
        helper.make_node("Cast", ["above"], ["hole"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "hole"], ["known"]),
        helper.make_node("Mul", [image, "known"], ["known_pixels"]),
        helper.make_node("ReduceMean", ["known_pixels"], ["mean"], axes=[2, 3], keepdims=1),
        helper.make_node("Mul", ["hole", "offset"], ["raised"]),
        helper.make_node("Add", ["mean", "raised"], ["predicted"]),
        helper.make_node("Mul", ["predicted", "hole"], ["filled"]),
        helper.make_node("Add", ["known_pixels", "filled"], [completed]),
    ]
    stored = [
        helper.make_tensor(name, onnx.TensorProto.FLOAT, [], [value])
        for name, value in (("zero", 0), ("one", 1), ("offset", offset))
    ]
    shapes = {image: 3, mask: 1, completed: 3}
    values = [helper.make_tensor_value_info(n, 1, ["batch", c, "height", "width"]) for n, c in shapes.items()]
    graph = helper.make_graph(nodes, "toy", values[:2], values[2:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"fft": "matmul"})
    onnx.save(model, path)
    return path
