"""Make ``import torchvision`` work beside a torch build that its compiled operators were not made for.

A torchvision wheel for another flavour of torch (the CUDA wheel beside the CPU torch, say) cannot load its operators
and then fails on import with "operator torchvision::nms does not exist", which takes lpips, torchmetrics and so
pytorch_lightning with it. None of them needs these operators here; declaring two of them is enough. Import this
module before any of those.
"""

import importlib.util
from pathlib import Path

import torch

_declared: torch.library.Library | None = None  # the declaration lives as long as this object


def _declare_missing_operators() -> None:
    global _declared
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _declared is not None:
        return
    for extension in Path(spec.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(str(extension))
            return  # the wheel fits: its own operators are there
        except OSError:
            continue
    _declared = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        _declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_declare_missing_operators()
