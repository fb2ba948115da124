"""Inputs and output of an exported file, by name: stored as its metadata and printed by the export."""

import json
from dataclasses import dataclass

from torch import nn

import lama


@dataclass(frozen=True)
class Contract:
    """Names of inputs and output, each with its shape, type and values in words."""

    inputs: dict[str, str]
    output: tuple[str, str]

    def lines(self) -> dict[str, str]:
        """{name: meaning}, the output last."""
        return {**self.inputs, self.output[0]: self.output[1]}

    def metadata(self, generator: nn.Module, fft: str) -> dict[str, str]:
        """The metadata of the file."""
        network = {"class": type(generator).__name__, "config": generator.config}
        return {**self.lines(), "network": json.dumps(network), "fft": fft, "producer": f"lama {lama.__version__}"}

    def snippet(self, template: str, file: str) -> str:
        """Lines of Python that run the file; ``template`` is the ``SNIPPET`` of its exporter."""
        feed = ", ".join(f"{name!r}: {name}" for name in self.inputs)
        return template.format(file=file, inputs=", ".join(self.inputs), output=self.output[0], feed=f"{{{feed}}}")


def contract(generator: nn.Module, pre_post: bool) -> Contract:
    """The contract of a file with masking, padding and compositing inside, or of the network alone."""
    if pre_post:
        return Contract(
            {
                "image": "(batch, 3, height, width) float32, RGB, 0..1, any height and width",
                "mask": "(batch, 1, height, width) float32, above 0 = hole",
            },
            ("completed", "(batch, 3, height, width) float32, RGB, 0..1: the image with its holes filled"),
        )
    sizes = f"height and width are multiples of {generator.pad_multiple}, at least {generator.min_size}"
    return Contract(
        {"masked": f"(batch, 4, height, width) float32: image * (1 - mask), RGB, 0..1, and mask, 1 = hole; {sizes}"},
        ("predicted", "(batch, 3, height, width) float32, RGB, 0..1: the whole frame, as the network sees it"),
    )
