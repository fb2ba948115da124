"""Configurations that are composed without Hydra are those that Hydra composes."""

import pytest
from omegaconf import OmegaConf

from lama.config import composing, hydra_composing

PLAIN = [
    [],
    ["image='a b.png'", "mask.path='m, (1).png'", "out='x'", "overwrite=true"],
    ["detail=off", "scale=256", "max_memory=1.5", "precision=bf16", "feather=-3", "ignore=null"],
    ["device=cpu", "inpainter.device=mps", "quality=90", "quality=95", "mask.invert=false", "refiner.lr=0.01"],
    ["detail=on", "mask.threshold=7", "out_ext='.jpg'", "shard=0"],
]
OTHERS = [["+new=1"], ["nothing=1"], ["model=1"], ["plugins=[a]"], ["scale=1e3"], ["out=${image}"], ["quality"],
          ["image='a\\'b'"], ["image=a.png"], ["scale=NaN"], ["mask.invert=TRUE"],
          ["mask.a.b=1"], ["scale=1,2"]]  # fmt: skip


@pytest.mark.parametrize("overrides", PLAIN)
def test_plain_overrides_give_what_hydra_gives(overrides):
    file = composing.CONFIGS / "prediction" / "default.yaml"
    plain = composing._composed_plainly(file, overrides)
    by_hydra = hydra_composing.compose("prediction", "default", overrides)
    assert plain is not None
    assert OmegaConf.to_container(plain) == OmegaConf.to_container(by_hydra)
    assert [type(value) for _, value in plain.items()] == [type(value) for _, value in by_hydra.items()]
    assert OmegaConf.is_struct(plain)
    assert OmegaConf.is_struct(by_hydra)


@pytest.mark.parametrize("overrides", OTHERS)
def test_other_overrides_are_left_to_hydra(overrides):
    assert composing._composed_plainly(composing.CONFIGS / "prediction" / "default.yaml", overrides) is None


def test_a_defaults_list_is_left_to_hydra():
    assert composing._composed_plainly(composing.CONFIGS / "training" / "demo.yaml", []) is None
