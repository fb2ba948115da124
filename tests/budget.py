"""The largest error that each published number may have: these are the tolerances of the suite.

``within`` compares a number with its reference. ``make precision`` runs the tests that call it, and writes the largest
error seen beside the allowed one into docs/precision.md.
"""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

NOTES = "LAMA_PRECISION"  # an environment variable: the file that gets a line for each comparison
OF_1, OF_VALUE = "of the range 0 to 1", "of the value"


class Budget(NamedTuple):
    """An error of at most ``most``, absolute (``OF_1``) or relative to the reference (``OF_VALUE``)."""

    most: float
    of: str
    reference: str
    floor: float = 0  # of a reference: a smaller one counts as this, so that rounding around zero is no error


GROUPS: dict[str, dict[str, Budget]] = {
    "Prediction": {
        "network, small": Budget(1e-5, OF_1, "the official networks at reduced width, numbers stored"),
        "network, published size": Budget(5e-5, OF_1, "the official networks at full width, numbers stored"),
        "prediction, float32": Budget(1e-5, OF_1, "lama-small in double precision, a photograph"),
        "prediction, float32, without fusing": Budget(1e-5, OF_1, "lama-small in double precision, a photograph"),
        "prediction, bf16": Budget(0.03, OF_1, "lama-small in double precision, a photograph"),
        "prediction, bf16, mean error": Budget(0.003, OF_1, "lama-small in double precision, a photograph"),
        "prediction, 2 threads": Budget(1e-5, OF_1, "one thread"),
        "prediction, in a batch": Budget(1e-5, OF_1, "one image at a time"),
        "fused network": Budget(1e-5, OF_1, "the trained network, layer by layer"),
        "fused network, in chunks of rows": Budget(1e-5, OF_1, "the fused network at once"),
        "fused network, bf16": Budget(0.05, OF_1, "the trained network in float32"),
        "Fourier unit": Budget(1e-10, OF_1, "explicit sums of exponentials in double precision"),
        "image of 16 bits or floats": Budget(0.5 / 255 + 2e-3, OF_1, "the same image in 8 bits"),
        "weights in half precision": Budget(5e-3, OF_1, "the same weights in float32"),
        "image files of 8 and 16 bits": Budget(0, OF_1, "the pixels that were written (PNG, TIFF, WebP lossless)"),
    },
    "Export": {
        "TorchScript": Budget(1e-5, OF_1, "the network in PyTorch"),
        "ONNX": Budget(1e-5, OF_1, "the network in PyTorch"),
        "pt2": Budget(1e-5, OF_1, "the network in PyTorch"),
        "Fourier unit by matrix products": Budget(3e-6, OF_1, "the Fourier unit, divided by its largest value"),
        "half precision": Budget(0.01, OF_1, "the network in float32"),
        "weights in 8 bits": Budget(0.02, OF_1, "the network in float32"),
    },
    "Training": {
        "adversarial loss, R1, their gradient": Budget(2e-5, OF_VALUE, "the official loss, numbers stored"),
        "feature matching": Budget(2e-5, OF_VALUE, "the official loss, numbers stored"),
        "L1 loss": Budget(2e-5, OF_VALUE, "the official loss, numbers stored"),
        "perceptual losses (HRF, VGG)": Budget(1e-4, OF_VALUE, "the official loss, numbers stored"),
        "logits and features": Budget(1e-5, OF_1, "the official discriminator, numbers stored"),
        "gradient of the generator": Budget(2e-4, OF_VALUE, "the official norms, numbers stored", floor=10),
        "statistics of BatchNorm": Budget(2e-5, OF_VALUE, "the official sums, numbers stored", floor=1),
        "losses of the first step": Budget(1e-4, OF_VALUE, "the official step, numbers stored"),
        "losses of our step, in double": Budget(1e-8, OF_VALUE, "the step as published, in double precision"),
        "losses of a step, float32": Budget(2e-5, OF_VALUE, "the same step in double precision"),
        "losses of a step, 2 threads": Budget(5e-5, OF_VALUE, "one thread"),
        "losses of a step, bf16": Budget(0.1, OF_VALUE, "the same step in float32", floor=0.2),
        "gradients of one discriminator pass": Budget(1e-7, OF_VALUE, "two passes, in double precision", floor=1e-3),
        "losses of two processes": Budget(2e-4, OF_VALUE, "one process with the whole batch", floor=0.01),
    },
    "Metrics": {
        "PSNR": Budget(1e-6, OF_VALUE, "scikit-image"),
        "L1": Budget(1e-5, OF_VALUE, "NumPy"),
        "SSIM": Budget(1e-5, OF_1, "a sum over explicit windows; kornia"),
        "SSIM, official": Budget(1e-5, OF_VALUE, "the official metric, numbers stored"),
        "LPIPS (VGG), official": Budget(1e-5, OF_VALUE, "the official metric, numbers stored"),
        "LPIPS (SqueezeNet)": Budget(1e-6, OF_VALUE, "the package lpips"),
        "LPIPS by region": Budget(1e-5, OF_VALUE, "the map of the package lpips, averaged in NumPy"),
        "Fréchet distance": Budget(1e-6, OF_VALUE, "scipy's matrix root"),
        "Fréchet distance, official": Budget(1e-5, OF_VALUE, "the official metric, numbers stored"),
        "FID of image files": Budget(1e-6, OF_VALUE, "pytorch-fid"),
        "FID, official": Budget(1e-4, OF_VALUE, "the official evaluation, numbers stored"),
        "KID": Budget(1e-9, OF_VALUE, "the formula in NumPy"),
        "KID, subsets": Budget(1e-5, OF_VALUE, "torch-fidelity"),
        "P-IDS, U-IDS": Budget(0, OF_1, "scikit-learn's linear classifier"),
        "CMMD": Budget(1e-5, OF_VALUE, "the formula in NumPy"),
        "FD-DINOv2": Budget(1e-4, OF_VALUE, "the formula in NumPy"),
        "RC-S": Budget(1e-5, OF_VALUE, "the formula in NumPy"),
        "ReMOVE": Budget(1e-3, OF_1, "the formula in double precision"),
        "boundary error": Budget(1e-12, OF_VALUE, "a loop over pairs of pixels"),
        "sharpness error": Budget(1e-6, OF_VALUE, "its closed form on ramps"),
        "metrics of single images, any batch": Budget(1e-6, OF_VALUE, "one image at a time"),
        "metrics of sets, any batch and order": Budget(1e-6, OF_VALUE, "another batch size and order"),
        "metrics of networks, any batch": Budget(2e-5, OF_VALUE, "another batch size and order"),
        "all metrics, 2 threads": Budget(1e-6, OF_VALUE, "one thread"),
        "checkpoint selector": Budget(1e-9, OF_VALUE, "the official formula"),
    },
}  # fmt: skip
BUDGETS = {key: budget for group in GROUPS.values() for key, budget in group.items()}


def within(key: str, found: Any, expected: Any) -> None:
    """Assert that numbers, arrays, tensors or dictionaries of them are within the budget ``key`` of ``expected``."""
    budget = BUDGETS[key]
    error = _error(found, expected, budget)
    if NOTES in os.environ:
        note = {"key": key, "error": error, "test": os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]}
        with open(os.environ[NOTES], "a", encoding="utf-8") as notes:
            notes.write(json.dumps(note) + "\n")
    assert error <= budget.most, f"{key}: {error:.2g} {budget.of} from the reference, allowed: {budget.most:.2g}"


def _error(found: Any, expected: Any, budget: Budget) -> float:
    """The largest error; NaN, which no budget allows, if a number is NaN in one of them only."""
    if isinstance(expected, Mapping):
        assert found.keys() == expected.keys()
        return max(_error(found[name], expected[name], budget) for name in expected)
    a, b = (np.asarray(x.detach().double() if hasattr(x, "detach") else x, np.float64) for x in (found, expected))
    assert a.shape == b.shape
    if not b.size:
        return 0.0
    both = np.isnan(a) & np.isnan(b)
    error = np.abs(a - b)
    if budget.of == OF_VALUE:
        error = np.divide(error, np.maximum(np.abs(b), budget.floor), out=np.zeros_like(error), where=error != 0)
    return float(np.where(both, 0, error).max())
