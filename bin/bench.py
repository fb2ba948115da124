"""Speed, as ratios of alternated runs in one process.

python bin/bench.py                                  # a training step: recipe=official beside recipe=modern
python bin/bench.py generator.ngf=64 generator.n_blocks=9 data.batch_size=2
"""

import statistics
import time

from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from lama.config import CONFIGS, build, build_module, load_yaml, run

ROUNDS = 7


def main(config: DictConfig) -> None:
    import torch

    batch = next(iter(build(config.data, "data").train_dataloader()))
    contenders = {}
    for name in ("official", "modern"):
        torch.manual_seed(config.seed)
        module = build_module(
            OmegaConf.merge(config, {"recipe": load_yaml(CONFIGS / f"training/recipe/{name}.yaml")})
        ).train()
        contenders[name] = (module, module.configure_optimizers()[0])
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in tqdm(range(ROUNDS + 1), desc="rounds"):  # the first warms up
        for name, (module, optimizers) in contenders.items():
            started = time.perf_counter()
            module.step(batch, *optimizers)
            seconds[name] += [time.perf_counter() - started] if round_ else []
    base = statistics.median(seconds["official"])
    print(f"\n{torch.get_num_threads()} threads, torch {torch.__version__}, crops {tuple(batch['image'].shape)}")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"recipe={name:9} {median:.3f} s a step (best {min(values):.3f}), {base / median:.2f} times as fast")


if __name__ == "__main__":
    run(main, "training", "demo")
