"""LaMa: resolution-robust large mask inpainting with Fourier convolutions (Suvorov et al., WACV 2022).

import lama
inpainter = lama.load("small")              # or "big-lama", a run folder, a .safetensors file or another model
result = inpainter(image, mask)             # NumPy or PIL, any size; black = keep, all else = remove
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lama.inference import Inpainter, load

__version__ = "0.1.0"
__all__ = ["Inpainter", "__version__", "load"]


def __getattr__(name: str) -> Any:  # importing the package stays light: torch is loaded on first use
    if name in ("Inpainter", "inference", "load"):
        try:
            inference = importlib.import_module("lama.inference")
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            advice = "pip install torch torchvision, or without it: from lama.onnx import Inpainter"
            raise ModuleNotFoundError(f"lama.{name} needs torch: {advice}", name="torch") from None
        return inference if name == "inference" else getattr(inference, name)
    raise AttributeError(f"module 'lama' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
