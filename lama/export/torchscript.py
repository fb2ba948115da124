"""TorchScript: one file that torch opens without this package, from Python or C++ (as ``big-lama.pt`` is shared).

The network is traced and the rest is scripted, so sizes and the device stay free.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lama.export.deployed import Deployed
from lama.export.fourier import MatmulFourierUnit

SUFFIX = ".pt"
PACKAGES: tuple[str, ...] = ()
FFT = "native"
SNIPPET = "import torch\nnetwork = torch.jit.load({file!r})\n{output} = network({inputs})"


def dump(network: nn.Module, example: tuple[Tensor, ...], metadata: Mapping[str, str], names: Sequence[str]) -> bytes:
    """The content of the file; ``names`` are unused, since this format identifies inputs and output by position."""
    if isinstance(network, Deployed):
        traced = _trace(network.generator, torch.zeros(1, 4, network.least, network.least + network.pad_multiple))
        module = torch.jit.script(Deployed(traced, network.pad_multiple, network.least).eval())
    else:
        module = _trace(network, example[0])
    content = io.BytesIO()
    torch.jit.save(module, content, _extra_files={"lama.json": json.dumps(metadata)})
    return content.getvalue()


def _trace(generator: nn.Module, x: Tensor) -> Any:
    for module in generator.modules():
        for name, child in list(module.named_children()):
            if isinstance(child, MatmulFourierUnit):  # a trace would fix the device of its matrices
                setattr(module, name, torch.jit.script(child))
    return torch.jit.trace(generator, x, check_trace=False)


def read(path: Path) -> nn.Module:
    """The runnable file: tensors in the order of the contract -> the output, (B, 3, H, W) float32."""
    return torch.jit.load(path, map_location="cpu")
