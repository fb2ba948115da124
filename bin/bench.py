"""Speed, as ratios of alternated runs in one process.

python bin/bench.py step                             # a training step: recipe=official beside recipe=modern
python bin/bench.py step generator.ngf=64 generator.n_blocks=9 data.batch_size=2
python bin/bench.py masks                            # masks per second, beside a straightforward version
python bin/bench.py data PICTURES                    # pictures per second, with and without the cache
"""

import sys

from omegaconf import DictConfig, OmegaConf

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


def masks() -> None:
    from lama.bench import bench_masks

    names = [f"random_{kind}_{size}" for kind in ("thin", "medium", "thick") for size in (256, 512)]
    samplers = {name: (build_data_gen(0)(name)[0].masks, int(name[-3:])) for name in names}
    wide = OmegaConf.create({"masks": load_yaml(CONFIGS / "training/masks/train_wide.yaml")})
    wide.recipe = {"one_more_stroke": True}
    samplers["train_wide"] = build(wide.masks, "masks"), 256
    print("\n".join(bench_masks(samplers)))


def data() -> None:
    from lama.bench import bench_data

    if len(sys.argv) != 2:
        raise ValueError("expected python bin/bench.py data PICTURES, a folder of photographs")
    print("\n".join(bench_data(sys.argv[1])))


if __name__ == "__main__":
    what = sys.argv.pop(1) if len(sys.argv) > 1 and sys.argv[1] in ("step", "masks", "data") else "step"
    if len(sys.argv) > 1 and what == "step" and "=" not in sys.argv[1] and not sys.argv[1].startswith("-"):
        sys.exit(f"error: {sys.argv[1]}: no such benchmark; known: step, masks, data")
    run(step, "training", "demo") if what == "step" else one_liner({"masks": masks, "data": data}[what])
