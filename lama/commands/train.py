"""Train LaMa.

lama train -cn demo [data=folder data.path=IMAGES]                     # minutes on a CPU, no download
lama train -cn lama-fourier location=my_dataset data.batch_size=10
lama train -cn finetune init_from=big-lama data.path=PICTURES          # go on from a released model or your own
lama train -cn demo debug=limit|overfit|profile                        # a short test; dry_run=true trains nothing
lama train -m sweep=table2_generators launcher=slurm                   # the rows of a table (docs/cluster.md)
If a training was stopped or killed, the same command continues it (docs/training.md).
"""

import sys

from lama.config import build, build_module, check_plan, fit_to_start, flag, official_location, preflight, read, to_yaml


def main(arguments: list[str]) -> None:
    if {"-m", "--multirun"} & set(arguments):  # the rows of a table, each a training
        from lama.sweeps.start import start

        start(arguments)
        return
    config = read(arguments, str(__doc__), "training", None)
    from lama.checkpoints import open_checkpoint
    from lama.pretrained.fetch import fetching

    check_plan(config)
    dry = flag(config, "dry_run")
    with fetching(unless="dry_run=true fetches nothing, the training would" if dry else ""):
        fitted = fit_to_start(config, open_checkpoint)
        preflight(config)
    sys.stderr.writelines(f"{note}\n" for note in official_location(config))
    import torch

    from lama.machine.allocator import tune_for_training
    from lama.runs import dry_run, find_run, train
    from lama.runs.run import check_trainer, command_line
    from lama.training import check_start, initialise

    # A run that took its networks from init_from needs that file again to resume: it states their sizes.
    check_start(None if fitted and config.resume else config.init_from, config.init_parts, config.resume)
    tune_for_training(config.trainer.accelerator, config.data.batch_size, config.augment.size)
    text, command, debug = to_yaml(config), command_line(sys.argv), config.debug and build(config.debug, "debug")
    run_dir = config.run_dir if debug is None else debug.folder(config.run_dir)
    overwrite = flag(config, "overwrite") or debug is not None
    resume = None if dry or debug else find_run(run_dir, config.resume, overwrite, text, command)
    start_from = None if resume or not config.init_from else open_checkpoint(str(config.init_from), "init_from")
    data, trainer = build(config.data, "data"), build(config.trainer, "trainer")
    torch.manual_seed(config.seed)  # the networks' initial weights; data has generators of its own
    module = build_module(config)
    if dry:
        dry_run(module, data, trainer, text)
    elif resume is not None and resume.finished(check_trainer(trainer)):
        print(resume.all_done(), file=sys.stderr)
    else:
        train(
            module, data, trainer, run_dir, text, command, config.monitor, resume, overwrite,
            origin=[] if start_from is None else initialise(module, start_from, config.init_parts), debug=debug,
            checkpoints=build(config.checkpoint, "checkpoint"), faults=build(config.faults, "faults"),
            loggers=build(config.logger, "logger").values(),
        )  # fmt: skip
