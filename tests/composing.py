"""Compose a configuration as the commands do."""

from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from lama.checkpoints import Checkpoint
from lama.checkpoints.archive import StoredTensor
from lama.config import CONFIGS
from lama.models import FFCResNetGenerator, PatchDiscriminator


def composed(name="demo", *overrides, group="training"):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS / group), version_base="1.3"):
        return compose(name, overrides=list(overrides))


def finetuned_from(adversary):
    """The model that a fine-tuning begins with: a thin generator, and perhaps a discriminator."""
    generator, discriminator = FFCResNetGenerator(ngf=4, n_blocks=1), PatchDiscriminator(ndf=4)
    tensors = {k: StoredTensor(tuple(v.shape), v.clone) for k, v in generator.state_dict().items()}
    if adversary:
        tensors |= {
            f"discriminator.{k}": StoredTensor(tuple(v.shape), v.clone) for k, v in discriminator.state_dict().items()
        }
    return Checkpoint(Path("a.ckpt"), {k if k.startswith("d") else f"generator.{k}": v for k, v in tensors.items()}, {})
