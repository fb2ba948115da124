"""Keys of the official commands that have another name here, or no meaning any more."""

from collections.abc import Sequence
from typing import Any

# key: (values that need no words, what happens instead)
_WITHOUT_MEANING = {
    "dataset.kind": (("default",), "the files in indir decide: masks beside images, or maskdir=FOLDER"),
    "dataset.pad_out_to_modulo": (("8",), "images are padded to what the network needs, and cut back"),
    "dataset.scale_factor": (("1", "null"), "images keep their size; resize them, or set scale="),
    "refiner.gpu_ids": ((), "refinement runs on device="),
}
_RENAMED = {"+out_ext": "out_ext", "+refine": "refine"}


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
