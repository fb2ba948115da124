"""A model package of darktable 5.6: a zip with one folder, ``config.json`` and the ONNX file in it.

darktable reads these fields (src/ai/backend_common.c and src/common/ai_models.c), and the page
https://github.com/darktable-org/darktable-ai/wiki/Pipeline-reference lists the tasks. Needs the extra ``export``.
"""

import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from lama.export import onnx

SUFFIX = ".dtmodel"
PACKAGES = onnx.PACKAGES
FFT = onnx.FFT
SNIPPET = """# darktable: preferences, AI, import from file; in Python:
import onnxruntime, zipfile
package = zipfile.ZipFile({file!r})
session = onnxruntime.InferenceSession(package.read(package.namelist()[1]))
{output} = session.run(None, {feed})[0]"""


def dump(network: nn.Module, example: tuple[Tensor, ...], metadata: Mapping[str, str], names: Sequence[str]) -> bytes:
    """The content of the file. Its name, ``metadata["name"]``, becomes the model's id in darktable."""
    words = re.sub(r"[^a-z0-9]+", "-", metadata["name"].lower()).strip("-").removeprefix("erase-")
    config = {
        "id": f"erase-{words or 'lama'}",  # darktable-ai's names begin with the task
        "name": words.replace("-", " "),
        "description": "Large mask inpainting for object erasure",
        "task": "erase",
        "arch": "lama",
        "backend": "onnx",
        "version": "1.0",
        "tiling": False,
        "num_inputs": len(names) - 1,
        "spatial_dims": ["height", "width"],  # the names of the free axes in the ONNX file
    }
    files = {
        "config.json": json.dumps(config, indent=2).encode(),
        "model.onnx": onnx.dump(network, example, metadata, names),
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as package:
        for name, data in files.items():
            entry = zipfile.ZipInfo(f"{config['id']}/{name}")
            entry.external_attr = 0o644 << 16  # darktable keeps the permissions
            package.writestr(entry, data)
    return content.getvalue()


def read(path: Path) -> Callable[..., Tensor]:
    """The runnable file: tensors in the order of the contract -> the output, (B, 3, H, W) float32."""
    with zipfile.ZipFile(path) as package:
        return onnx.read(package.read(package.namelist()[1]))
