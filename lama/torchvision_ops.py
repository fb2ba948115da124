"""Make ``import torchvision`` work with a torch build that its compiled operators do not fit.

A torchvision wheel for another build of torch (the CUDA wheel with the CPU torch, for example) cannot load its
operators. Its import then fails with "operator torchvision::nms does not exist", and so do the imports of lpips,
torchmetrics and pytorch_lightning. They do not use these operators here: declaring two of them is enough. Import this
module before any of those.
"""

import importlib.util
from pathlib import Path

import torch

_declared: torch.library.Library | None = None  # the declaration ends with this object


def _declare_missing_operators() -> None:
    global _declared
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _declared is not None:
        return
    for extension in Path(spec.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(str(extension))
            return  # the wheel fits
        except OSError:
            continue
    _declared = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        _declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_declare_missing_operators()
