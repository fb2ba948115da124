"""Train LaMa.

python bin/train.py -cn demo                                             # minutes on a CPU, no download
python bin/train.py -cn demo data=folder data.path=PICTURES run_title=mine
python bin/train.py -cn lama-fourier location=my_dataset data.batch_size=10
python bin/train.py -cn demo --cfg job                                   # only print the configuration
"""

import sys

from omegaconf import DictConfig

from lama.config import build, preflight, run, to_yaml


def main(config: DictConfig) -> None:
    preflight(config)
    import torch

    from lama.training import InpaintingModule, train
    from lama.training.run import command_line

    torch.manual_seed(config.seed)  # the networks' initial weights; data has generators of its own
    data = build(config.data, "data")
    module = InpaintingModule(
        generator=build(config.generator, "generator"),
        discriminator=build(config.discriminator, "discriminator"),
        objective=build(config.losses, "losses"),
        evaluator=build(config.evaluator, "evaluator"),
        optimizers=build(config.optimizers, "optimizers"),
        second_generator_forward=config.recipe.second_generator_forward,
        clip_norm=config.recipe.clip_norm,
        cosine_lr=config.recipe.cosine_lr,
        ema_decay=config.recipe.ema_decay,
    )
    train(
        module,
        data,
        trainer=build(config.trainer, "trainer"),
        run_dir=config.run_dir,
        config=to_yaml(config),
        command=command_line(sys.argv),
        monitor=config.monitor,
        monitor_mode=config.monitor_mode,
        resume=config.resume,
        overwrite=config.overwrite,
    )


if __name__ == "__main__":
    run(main, "training", "demo")
