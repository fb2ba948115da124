"""Measure predictions, a model or a classical method on a folder of images and masks. More in docs/evaluation.md.

lama evaluate indir=PAIRS predictdir=PREDICTIONS outdir=OUT             # predictions named after the masks
lama evaluate indir=PAIRS model.path=runs/demo outdir=OUT metrics=quick
lama evaluate indir=SET baseline=telea outdir=OUT protocol=rord-omnieraser    # a published protocol
lama evaluate -m shards=64 launcher=slurm indir=PAIRS model.path=runs/demo outdir=OUT    # 64 jobs of a cluster
"""

from functools import partial

from lama.config import read

PATHS = ("indir", "predictdir", "model.path", "outdir", "cache")
READ = partial(read, usage=str(__doc__), group="evaluation", paths=PATHS, short={"model": "model.path"})


def main(arguments: list[str]) -> None:
    if {"-m", "--multirun"} & set(arguments):
        from lama.sweeps.evaluate import start

        start(arguments, READ)
        return
    config = READ(arguments)
    from lama.pictures.shard import shard_of
    from lama.sweeps.evaluation import Evaluation
    from lama.sweeps.evaluation_shards import Pieces, one_shard

    collects = config.shard is None and config.shards is not None
    shard = None if collects else shard_of(config.shard, config.shards)
    evaluation = Evaluation(config)
    if collects:
        print(Pieces(evaluation, config.shards).collect())
        return
    if shard is not None:
        print(one_shard(evaluation, shard))
        return
    evaluation.prepare()
    not_followed = evaluation.not_followed()
    evaluation.measure(evaluation.portions)
    print(evaluation.write(not_followed))
