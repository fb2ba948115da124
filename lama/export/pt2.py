"""torch.export: the graph with symbolic sizes, for torch.compile, AOTInductor and ExecuTorch."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from lama.export.deployed import Deployed

SUFFIX = ".pt2"
PACKAGES: tuple[str, ...] = ()
FFT = "native"
SNIPPET = "import torch\nnetwork = torch.export.load({file!r}).module()\n{output} = network({inputs})"


def program(network: nn.Module, example: tuple[Tensor, ...]) -> ExportedProgram:
    """The graph of ``network``; batch, height and width are free, within the multiples that the network needs."""
    sizes: dict[int, Any] = {0: Dim("batch"), 2: Dim("height"), 3: Dim("width")}
    if not isinstance(network, Deployed):
        multiple, least = int(network.pad_multiple), int(network.min_size)  # type: ignore[arg-type]
        sizes |= {axis: multiple * Dim(name, min=-(-least // multiple)) for axis, name in ((2, "rows"), (3, "columns"))}
    return torch.export.export(
        network,
        example,
        dynamic_shapes=(sizes,) * len(example),
        prefer_deferred_runtime_asserts_over_guards=True,  # else every unproven condition on sizes is an error
    )


def dump(network: nn.Module, example: tuple[Tensor, ...], metadata: Mapping[str, str], names: Sequence[str]) -> bytes:
    """The content of the file; ``names`` are unused, since this format identifies inputs and output by position."""
    content = io.BytesIO()
    torch.export.save(program(network, example), content, extra_files={"lama.json": json.dumps(metadata)})
    return content.getvalue()


def read(path: Path) -> nn.Module:
    """The runnable file: tensors in the order of the contract -> the output, (B, 3, H, W) float32."""
    return torch.export.load(path).module()
