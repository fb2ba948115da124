"""The official commands: keys that have another name here or no meaning any more, and configurations of metrics."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lama.config.composing import load_yaml
from lama.config.wording import nearest

# key: (values that need no words, what happens instead)
_WITHOUT_MEANING = {
    "dataset.kind": (("default",), "the files in indir decide: masks beside images, or maskdir=FOLDER"),
    "dataset.pad_out_to_modulo": (("8",), "images are padded to what the network needs, and cut back"),
    "dataset.scale_factor": (("1", "null"), "images keep their size; resize them, or set scale="),
    "refiner.gpu_ids": ((), "refinement runs on device="),
}
_RENAMED = {"+out_ext": "out_ext", "+refine": "refine"}
_PAIRS = {"img_suffix": ".png", "batch_size": 8}
_METRICS: dict[str, dict[str, Any]] = {
    "eval1": _PAIRS, "eval2": _PAIRS, "eval2_cpu": _PAIRS, "eval2_gpu": _PAIRS, "eval2_jpg": _PAIRS,
    "eval2_segm": _PAIRS | {"segmentation": True},
    "eval2_test": {"img_suffix": "_input.png", "batch_size": 1},
    "eval2_segm_test": {"img_suffix": "_input.png", "batch_size": 1, "segmentation": True},
}  # fmt: skip


def official_prediction(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """(arguments of ``predict``, notes): official keys without a meaning are left out, with a note for each."""
    kept, notes = [], []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key in _WITHOUT_MEANING:
            silent, instead = _WITHOUT_MEANING[key]
            if value not in silent:
                notes.append(f"{argument}: has no meaning here; {instead}")
        else:
            kept.append(_RENAMED.get(key, key) + equals + value)
    return kept, notes


def official_location(config: Any) -> list[str]:
    """Notes on the keys of an official ``location`` file that a training does not use."""
    if "tb_dir" not in config.location:
        return []
    return [f"location.tb_dir={config.location.tb_dir}: is not used; TensorBoard files lie in {config.run_dir}"]


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
    elif path.stem in _METRICS:
        settings = {"segmentation": False} | _METRICS[path.stem]
    else:
        raise ValueError(f"{config}: no such file{nearest(path.stem, _METRICS)}; known names: {', '.join(_METRICS)}")
    notes = ["segmentation: per-class scores are not computed; the other metrics are"] * settings["segmentation"]
    return settings, notes
