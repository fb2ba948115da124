"""The weights that a path names: their file, its sha256, and the iteration at which it was written."""

import json
import math
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from lama.checkpoints.load import find_weights
from lama.files import sha256_of


def identify(path: str | Path | None) -> dict[str, Any] | None:
    """{"file", "sha256", "iteration", "parameters"} of the model at ``path``, any that can be loaded; None for None.

    "iteration" and "parameters" (of the generator) are None for a file that is not in our format. Raises
    FileNotFoundError.
    """
    if path is None:
        return None
    file = find_weights(path).resolve()
    about: dict[str, Any] = {"file": str(file), "sha256": sha256_of(file), "iteration": None, "parameters": None}
    if file.suffix.lower() != ".safetensors":
        return about
    try:
        with safe_open(file, "pt") as content:
            metadata = content.metadata() or {}
            if "generator" not in metadata:
                return about
            about["iteration"] = json.loads(metadata.get("info", "{}")).get("iteration")
            names = [name for name in content.keys() if not name.startswith("discriminator.")]  # noqa: SIM118
            about["parameters"] = sum(
                math.prod(content.get_slice(name).get_shape()) for name in names if _learned(name)
            )
    except (SafetensorError, ValueError, AttributeError):  # loading it names the fault
        pass
    return about


def _learned(name: str) -> bool:
    return not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
