"""The list of a prediction, from its configuration: all results, or the results of one shard."""

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
