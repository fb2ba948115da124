"""Measure speed, as ratios of alternated runs.

lama bench masks                            # masks per second, compared with a simple version
lama bench data IMAGES                      # images per second, with and without the cache
lama bench fid                              # the Fréchet distance, compared with scipy's matrix root
lama bench predict                          # the trained module and its fused equivalent, an hour
lama bench hole                             # a small hole in a large photograph: a crop or the whole image
lama bench detail IMAGES --whole            # holes in photographs of 12 and 24 megapixels, with detail
lama bench cold                             # lama predict of one picture, from the shell to the file
lama bench runtimes --out OUT               # an exported lama-small in each runtime for ONNX on this machine
lama bench precision float32.onnx int8.onnx  # what an exported file loses by storing its weights in fewer bits
lama bench train                            # a step as published, ours, and the share of each option; long
lama bench predict --sizes 512 --rounds 5 --variants "fp32 compiled"
"""

from omegaconf import OmegaConf

from lama.config import CONFIGS, build, build_data_gen, load_yaml
from lama.verbs import spelled, typed

WITH_OPTIONS = ("cold", "detail", "hole", "precision", "predict", "runtimes", "train")
WHAT = ("masks", "fid", "data", *WITH_OPTIONS)


def main(arguments: list[str]) -> None:
    what, *rest = [*arguments] or [""]
    if {what, *rest} & {"--help", "-h"} and what not in WITH_OPTIONS:
        print(spelled(str(__doc__)))
        return
    if what not in WHAT:
        raise ValueError(f"bench: expected one of {', '.join(WHAT)}; got {what or 'nothing'}")
    if what not in WITH_OPTIONS and (what == "data") != (len(rest) == 1):
        raise ValueError(
            f"expected {typed('bench')} {'|'.join(name for name in WHAT if name != 'data')}, or data IMAGES, a folder"
        )
    from lama import bench

    print("\n".join(_masks() if what == "masks" else getattr(bench, f"bench_{what}")(*rest)))


def _masks() -> list[str]:
    """Every kind of random masks of the evaluation sets, and the paper's masks for training."""
    from lama.bench import bench_masks

    names = [f"random_{kind}_{size}" for kind in ("thin", "medium", "thick") for size in (256, 512)]
    samplers = {name: (build_data_gen(0)(name)[0].masks, int(name[-3:])) for name in names}
    wide = OmegaConf.create({"masks": load_yaml(CONFIGS / "training/masks/train_wide.yaml")})
    wide.recipe = {"one_more_stroke": True}
    return bench_masks(samplers | {"train_wide": (build(wide.masks, "masks"), 256)})
