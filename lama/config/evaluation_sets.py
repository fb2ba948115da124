"""The settings of frozen evaluation sets: ``configs/data_gen``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lama.config.composing import load_yaml
from lama.config.folder import CONFIGS
from lama.config.gate import build


def load_data_gen(config: str, seed: int, labels: str | None) -> dict[str, Any]:
    """The settings of an evaluation set, with its masks filled in.

    ``config`` is a YAML file or the name of one in ``configs/data_gen``; ``labels`` is the folder of label maps, which
    masks in the shape of objects need. Raises FileNotFoundError or ValueError if one of the two is missing.
    """
    file = Path(config) if Path(config).suffix else CONFIGS / "data_gen" / f"{config}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in (CONFIGS / "data_gen").glob("*.yaml")))
        raise FileNotFoundError(f"{config}: no such configuration of an evaluation set; known: {known}")
    settings = OmegaConf.to_container(OmegaConf.load(file))
    if not isinstance(settings, dict) or "_target_" not in settings or "masks" not in settings:
        raise ValueError(f"{file}: expected _target_, masks, size, ...; compare configs/data_gen/random_thick_256.yaml")
    if isinstance(settings["masks"], str):
        masks = load_yaml(CONFIGS / "training" / "masks" / f"{settings['masks']}.yaml")
        recipe = load_yaml(CONFIGS / "training" / "recipe" / "official.yaml")
        both = OmegaConf.create({"masks": masks, "recipe": recipe})
        settings["masks"] = OmegaConf.to_container(both, resolve=True)["masks"]  # type: ignore[index, call-overload]
    if labels is not None:
        if not str(settings["masks"].get("_target_", "")).endswith("Objects"):
            raise ValueError(f"--labels: {config} draws no objects; configurations that do: segm_256, segm_512")
        settings["masks"]["path"] = labels
    if settings["masks"].get("path") == "???":
        raise ValueError(f"{config}: its masks come from label maps; give their folder as --labels DIR")
    return {**settings, "seed": seed}


def build_data_gen(seed: int) -> Callable[[str], tuple[Any, dict[str, Any]]]:
    """A function from the name of an evaluation set to (the set, its settings)."""

    def make(name: str) -> tuple[Any, dict[str, Any]]:
        settings = load_data_gen(name, seed, None)
        return build(settings, name), settings

    return make
