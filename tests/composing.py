"""Compose a configuration as the commands do."""

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from lama.config import CONFIGS


def composed(name="demo", *overrides, group="training"):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS / group), version_base="1.3"):
        return compose(name, overrides=list(overrides))
