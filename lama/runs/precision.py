"""The floating-point format of a training: bfloat16 is fast only on devices that have instructions for it."""

import logging

import torch

from lama.machine.device import has_fast_bf16

logger = logging.getLogger(__name__)

BF16, FP32 = "bf16-mixed", "32-true"
PRECISIONS = (None, "auto", 32, "32", FP32, "bf16", BF16)


def check_precision(wanted: str | int | None) -> None:
    """Raises ValueError for a format in which this training overflows, or that it does not have."""
    if wanted not in PRECISIONS:
        overflows = "overflows in this training; " if str(wanted).startswith("16") else ""
        raise ValueError(f"trainer.precision={wanted}: {overflows}expected auto, {BF16} or {FP32}")


def choose_precision(wanted: str | int | None, device: torch.device) -> str:
    """``wanted`` for Lightning's Trainer; ``auto`` is bf16-mixed where ``device`` is fast in it, else 32-true.

    Raises ValueError as ``check_precision`` does.
    """
    check_precision(wanted)
    fast = has_fast_bf16(device)
    if wanted == "auto":
        return BF16 if fast else FP32
    if str(wanted).startswith("bf16") and not fast:
        logger.warning(
            "trainer.precision=%s: this %s is not known to be fast in it; a step may take 50 times as long as with %s",
            wanted, device.type, FP32,
        )  # fmt: skip
    return FP32 if wanted is None else str(wanted)
