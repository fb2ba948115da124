"""The list of a prediction, from its configuration: all results, or the results of one shard."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lama.config import build, flag

PLACES = ("indir", "maskdir", "outdir", "image", "mask.path", "out", "pairs")


def plan_of(config: Any, skip_existing: bool) -> Any:
    """The ``PredictionPlan`` of the configuration."""
    from lama.pictures.images import allow_megapixels
    from lama.pictures.prediction_jobs import PredictionPlan
    from lama.pictures.shard import shard_of

    if config.out_key not in ("inpainted", "predicted_image"):
        raise ValueError(f"out_key={config.out_key}: expected inpainted or predicted_image")
    allow_megapixels(config.max_megapixels)
    found = found_of(config, shard_of(config.shard, config.shards))
    masks = build({key: value for key, value in config.mask.items() if key not in ("path", "join")}, "mask")
    return PredictionPlan(found, masks, config.quality, skip_existing, flag(config, "overwrite"), config.ignore)


# of ``configs/prediction``: what torch computes only, with the values that an exported file goes with
_TORCH_ONLY = {
    "device": ("auto", "cpu"), "precision": ("fp32",), "feather": (0,), "fast": (True,), "graphs": (False,),
    "refine": (False,), "out_key": ("inpainted",),
}  # fmt: skip
_SHARED = ("strategy", "max_memory", "margin", "tile", "scale", "detail")


def inpainter_of(config: Any) -> tuple[Any, str | Path]:
    """(a function from image and mask to the result, the model); for an exported ``.onnx`` torch is not imported.

    Raises ValueError or FileNotFoundError if there is no such model, or if it does not go with an option.
    """
    model = config.model.path
    if is_onnx(model):
        wrong = next((key for key, allowed in _TORCH_ONLY.items() if config[key] not in allowed), None)
        if wrong is not None:
            raise ValueError(f"{wrong}={config[wrong]}: not with {model}, which ONNX Runtime computes on the CPU; "
                             "give the model that it was made from")  # fmt: skip
        options = {key: config[key] for key in _SHARED}
        return build({"_target_": "lama.onnx.Inpainter", "path": model} | options, ""), model
    from lama.checkpoints import in_folder, load_generator

    model = in_folder(model, config.model.checkpoint)
    generator = load_generator(model)
    refiner = build(config.refiner, "refiner") if flag(config, "refine") else None
    inpainter = build(config.inpainter, "")(generator, refiner=refiner)
    return inpainter if config.out_key == "inpainted" else inpainter.raw, model


def is_onnx(model: object) -> bool:
    """Whether ``model.path`` names a file for ONNX Runtime."""
    return str(model).lower().endswith(".onnx")


def found_of(config: Any, shard: Any = None) -> Any:
    """The ``PredictionSet`` of the configuration: all holes, or the holes of one ``Shard``."""
    from lama.pictures.prediction_set import find

    places = {key.split(".")[0]: OmegaConf.select(config, key) for key in PLACES}
    return find(places, config.out_ext, config.dataset.img_suffix, flag(config, "mask.join"), shard)


def written(found: Any) -> int:
    """The number of results of a ``PredictionSet`` that exist."""
    from lama.pictures.folders import Folders

    exists = Folders().exists
    return sum(exists(item.out) for item in found.items)


def any_result(config: Any) -> bool:
    """Whether a result of the whole list exists, in whatever shard."""
    return written(found_of(config)) > 0
