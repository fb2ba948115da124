"""Measure predictions, or a model, on a folder of pictures and masks.

    python bin/evaluate.py indir=PAIRS predictdir=PREDICTIONS outdir=OUT    # predictions named after the masks
    python bin/evaluate.py indir=PAIRS model.path=runs/demo outdir=OUT metrics=quick
    python bin/evaluate.py indir=PAIRS model.path=runs/demo outdir=OUT metrics=[psnr_hole,lpips_squeeze] \\
        weights.lpips_squeeze=FILE
"""

from omegaconf import DictConfig
from tqdm import tqdm

import lama
from lama.config import build, run
from lama.data.evaluation_set import PairFolder, PredictionFolder, batches_by_size
from lama.evaluation.tables import about, markdown_table, write_results


def main(config: DictConfig) -> None:
    if (config.predictdir is None) == (config.model.path is None):
        raise ValueError("expected either predictdir=FOLDER or model.path=MODEL")
    if config.batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {config.batch_size}")
    evaluator = build(config.evaluator, "evaluator")
    pairs = PairFolder(config.indir)
    if config.model.path is None:
        complete = PredictionFolder(config.predictdir, pairs).read
    else:
        # the plain network on the whole frame: a table must not depend on a machine's memory
        inpainter = lama.load(config.model.path, config.device, strategy="full", fast=False)
        complete = lambda pair: inpainter(pair.image, pair.mask)  # noqa: E731
    with tqdm(total=len(pairs), desc="evaluating", unit="picture") as progress:
        for names, *tensors in batches_by_size(pairs, complete, config.batch_size):
            evaluator.update(names, *tensors)
            progress.update(len(names))
    results, groups = evaluator.compute(), evaluator.compute_groups()
    what = {"indir": str(config.indir), "predictions": str(config.predictdir or config.model.path)}
    what |= {"evaluation_set": [manifest.hash for manifest in pairs.manifests] or "no manifest.json"}
    described = about(evaluator.protocol.describe(), config.grouping, what)
    outdir = write_results(config.outdir, results, groups, evaluator.per_image(), described)
    print(markdown_table({**groups, "total": results}, "mask area", interval=True))
    print(f"{len(pairs)} pictures; written to {outdir}: metrics.json, per_image.csv, table.md, table.tex")


if __name__ == "__main__":
    run(main, "evaluation", "default")
