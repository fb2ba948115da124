"""Train LaMa.

python bin/train.py -cn demo                                             # minutes on a CPU, no download
python bin/train.py -cn demo data=folder data.path=PICTURES run_title=mine
python bin/train.py -cn lama-fourier location=my_dataset data.batch_size=10
python bin/train.py -cn big-lama init_from=BIG_LAMA location=my_dataset      # fine-tune a released or own model
python bin/train.py -cn demo --cfg job                                   # only print the configuration

Where it was stopped or killed, the same command goes on (docs/training.md).
"""

import sys

from omegaconf import DictConfig

from lama.config import build, build_module, flag, preflight, run, to_yaml


def main(config: DictConfig) -> None:
    preflight(config)
    import torch

    from lama.checkpoints import open_checkpoint
    from lama.inference.allocator import tune_for_training
    from lama.training import find_run, initialise, train
    from lama.training.run import command_line

    if config.init_from is None and config.init_parts != "auto":
        raise ValueError(f"init_parts={config.init_parts}: needs init_from=PATH, the weights to start from")
    if config.init_from is not None and config.resume not in (None, "auto"):
        raise ValueError("init_from= starts a new training, resume= continues one: give one of them")
    tune_for_training(config.trainer.accelerator, config.data.batch_size, config.augment.size)
    text, overwrite = to_yaml(config), flag(config, "overwrite")
    resume = find_run(config.run_dir, config.resume, overwrite, text)
    if resume is not None and resume.finished(config.trainer.max_epochs):
        print(resume.all_done(), file=sys.stderr)
        return
    new = resume is None and config.init_from is not None
    start = open_checkpoint(str(config.init_from), "init_from") if new else None
    torch.manual_seed(config.seed)  # the networks' initial weights; data has generators of its own
    data = build(config.data, "data")
    module = build_module(config)
    train(
        module,
        data,
        trainer=build(config.trainer, "trainer"),
        run_dir=config.run_dir,
        config=text,
        command=command_line(sys.argv),
        monitor=config.monitor,
        resume=resume,
        overwrite=overwrite,
        origin=[] if start is None else initialise(module, start, config.init_parts),
        checkpoints=build(config.checkpoint, "checkpoint"),
        faults=build(config.faults, "faults"),
    )


if __name__ == "__main__":
    run(main, "training", None)
