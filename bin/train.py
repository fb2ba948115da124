"""Train LaMa.

python bin/train.py -cn demo                                             # minutes on a CPU, no download
python bin/train.py -cn demo data=folder data.path=PICTURES run_title=mine
python bin/train.py -cn lama-fourier location=my_dataset data.batch_size=10
python bin/train.py -cn big-lama init_from=BIG_LAMA location=my_dataset      # fine-tune a released or own model
python bin/train.py -cn demo --cfg job                                   # only print the configuration
"""

import sys

from omegaconf import DictConfig

from lama.config import build, build_module, flag, preflight, run, to_yaml


def main(config: DictConfig) -> None:
    preflight(config)
    import torch

    from lama.checkpoints import open_checkpoint
    from lama.training import initialise, train
    from lama.training.run import command_line

    if config.init_from is None and config.init_parts != "auto":
        raise ValueError(f"init_parts={config.init_parts}: needs init_from=PATH, the weights to start from")
    start = None if config.init_from is None else open_checkpoint(str(config.init_from), "init_from")
    if start is not None and config.resume is not None:
        raise ValueError("init_from= starts a new training, resume= continues one: give one of them")
    torch.manual_seed(config.seed)  # the networks' initial weights; data has generators of its own
    data = build(config.data, "data")
    module = build_module(config)
    origin = [] if start is None else initialise(module, start, config.init_parts)
    train(
        module,
        data,
        trainer=build(config.trainer, "trainer"),
        run_dir=config.run_dir,
        config=to_yaml(config),
        command=command_line(sys.argv),
        monitor=config.monitor,
        resume=config.resume,
        overwrite=flag(config, "overwrite"),
        origin=origin,
    )


if __name__ == "__main__":
    run(main, "training", None)
