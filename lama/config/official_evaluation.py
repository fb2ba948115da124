"""The official configurations of ``evaluate_predicts``, by name or as a file."""

from pathlib import Path
from typing import Any

from lama.config.composing import load_yaml
from lama.config.wording import nearest

_PNG = {"img_suffix": ".png", "batch_size": 8}
_KNOWN: dict[str, dict[str, Any]] = {
    "eval1": _PNG, "eval2": _PNG, "eval2_cpu": _PNG, "eval2_gpu": _PNG, "eval2_jpg": _PNG,
    "eval2_segm": _PNG | {"segmentation": True},
    "eval2_test": {"img_suffix": "_input.png", "batch_size": 1},
    "eval2_segm_test": {"img_suffix": "_input.png", "batch_size": 1, "segmentation": True},
}  # fmt: skip


def official_evaluation(config: str) -> tuple[dict[str, Any], list[str]]:
    """(settings, notes) of the file or the name ``config``: img_suffix and batch_size.

    Predictions are found by the names of their masks, whatever their suffix. Raises ValueError for an unknown name.
    """
    path = Path(config).expanduser()
    if path.is_file():
        loaded = load_yaml(path)
        dataset, evaluator = loaded.get("dataset_kwargs") or {}, loaded.get("evaluator_kwargs") or {}
        settings = {"img_suffix": dataset.get("img_suffix", ".jpg"), "batch_size": evaluator.get("batch_size", 8)}
        settings["segmentation"] = bool((loaded.get("segmentation") or {}).get("enable", False))
    elif path.stem in _KNOWN:
        settings = {"segmentation": False} | _KNOWN[path.stem]
    else:
        raise ValueError(f"{config}: no such file{nearest(path.stem, _KNOWN)}; known names: {', '.join(_KNOWN)}")
    notes = ["segmentation: per-class scores are not computed; the other metrics are"] * settings["segmentation"]
    return settings, notes
