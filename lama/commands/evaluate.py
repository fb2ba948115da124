"""Measure predictions, a model or a classical method on a folder of images and masks. More in docs/evaluation.md.

lama evaluate indir=PAIRS predictdir=PREDICTIONS outdir=OUT             # predictions named after the masks
lama evaluate indir=PAIRS model.path=runs/demo outdir=OUT metrics=quick
lama evaluate indir=SET baseline=telea outdir=OUT protocol=rord-omnieraser    # a published protocol
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import OmegaConf

from lama.config import build, flag, read

PATHS = ("indir", "predictdir", "model.path", "outdir", "cache")


def main(arguments: list[str]) -> None:
    config = read(arguments, str(__doc__), "evaluation", paths=PATHS, short={"model": "model.path"})
    sources = {"predictdir": config.predictdir, "model.path": config.model.path, "baseline": config.baseline}
    given = [name for name, value in sources.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"expected exactly one of {', '.join(sources)}; got {' and '.join(given) or 'none'}")
    if config.batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {config.batch_size}")
    benchmark = build(config.protocol, "protocol")
    config.metrics = benchmark.available(config.metrics)
    import lama
    from lama.checkpoints.identity import identify
    from lama.data.evaluation_set import PairFolder, PredictionFolder, batches_by_size
    from lama.evaluation.baselines import find_baseline
    from lama.evaluation.report import measure, write_evaluation
    from lama.evaluation.tables import prepare
    from lama.machine.device import pick_device
    from lama.pictures.notices import Notices

    pairs = PairFolder(config.indir, None, build(config.mask, "mask"), Notices(), config.white, config.truth)
    predictions = None if config.predictdir is None else PredictionFolder(config.predictdir, pairs)
    fill = None if config.baseline is None else find_baseline(config.baseline)
    device = pick_device(config.device)
    evaluator = build(config.evaluator, "evaluator")
    prepare(config.outdir, flag(config, "overwrite"), keep_apart=(config.indir, config.predictdir))
    if predictions is not None:
        complete: Callable[[Sequence[Any]], list[Any]] = predictions.read
    elif fill is not None:
        complete = lambda batch: [fill(pair.image, pair.mask) for pair in batch]  # noqa: E731
    else:  # the plain network on the whole image: numbers do not depend on the memory of a machine
        inpainter = lama.load(config.model.path, config.device, strategy="full", fast=False, detail="off")
        complete = lambda batch: inpainter.many([p.image for p in batch], [p.mask for p in batch])  # noqa: E731
    for name in evaluator.unread:
        logging.warning("weights.%s is not used: the metrics are %s", name, ", ".join(evaluator.metrics))
    unlike = benchmark.not_followed(pairs, evaluator)
    measure(evaluator, batches_by_size(pairs, complete, config.batch_size), len(pairs), device)
    settings = OmegaConf.to_container(config, resolve=True)
    what = {"indir": str(config.indir), "images": len(pairs), "configuration": settings, "predictions_by": given[0]}
    what |= {"benchmark": benchmark.name, "not_followed": unlike}
    what |= {"predictions": str(sources[given[0]]), "model": identify(config.model.path)} | pairs.report()
    example = lambda name: ((pair := pairs.named(name)).truth, pair.mask, complete([pair])[0])  # noqa: E731
    print(write_evaluation(config.outdir, evaluator, what, example))
