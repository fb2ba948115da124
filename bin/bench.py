"""Speed, as ratios of alternated runs.

python bin/bench.py step                             # a training step: recipe=official beside recipe=modern
python bin/bench.py masks                            # masks per second, beside a straightforward version
python bin/bench.py data PICTURES                    # pictures per second, with and without the cache
python bin/bench.py fid                              # the Fréchet distance, beside scipy's matrix root
python bin/bench.py predict                          # the trained module beside its fused equivalent, an hour
python bin/bench.py train                            # official as published, ours, and each option's share, long
python bin/bench.py predict --sizes 512 --rounds 5 --variants "fp32 compiled"
"""

import sys

from omegaconf import DictConfig, OmegaConf

from lama import bench
from lama.config import CONFIGS, build, build_data_gen, build_module, load_yaml, one_liner, run


def step(config: DictConfig) -> None:
    import torch

    from lama.bench.timing import alternate, table

    batch = next(iter(build(config.data, "data").train_dataloader()))
    contenders = {}
    for name in ("official", "modern"):
        torch.manual_seed(config.seed)
        recipe = load_yaml(CONFIGS / f"training/recipe/{name}.yaml")
        module = build_module(OmegaConf.merge(config, {"recipe": recipe})).train()
        optimizers = module.configure_optimizers()[0]
        contenders[f"recipe={name}"] = lambda m=module, o=optimizers: m.step(batch, *o)
    seconds = alternate(contenders, rounds=7, what="steps")
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, crops {tuple(batch['image'].shape)}")
    print("\n".join(table(seconds, 1, "steps")))


def masks() -> list[str]:
    names = [f"random_{kind}_{size}" for kind in ("thin", "medium", "thick") for size in (256, 512)]
    samplers = {name: (build_data_gen(0)(name)[0].masks, int(name[-3:])) for name in names}
    wide = OmegaConf.create({"masks": load_yaml(CONFIGS / "training/masks/train_wide.yaml")})
    wide.recipe = {"one_more_stroke": True}
    return bench.bench_masks(samplers | {"train_wide": (build(wide.masks, "masks"), 256)})


def other(what: str, *rest: str) -> None:
    verbs = {"masks": masks} | {name: getattr(bench, f"bench_{name}") for name in ("fid", "data", "predict", "train")}
    if what not in verbs:
        raise ValueError(f"{what}: no such benchmark; known: step, {', '.join(verbs)}")
    if what not in ("predict", "train") and (what == "data") != (len(rest) == 1):
        raise ValueError("expected python bin/bench.py step|masks|fid|predict|train, or data PICTURES, a folder")
    print("\n".join(verbs[what](*rest)))


if __name__ == "__main__":
    if sys.argv[1:2] in ([], ["step"]):
        del sys.argv[1:2]
        run(step, "training", "demo")
    else:
        one_liner(lambda: other(*sys.argv[1:]))
