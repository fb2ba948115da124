"""Measure predictions, or a model, on a folder of pictures and masks.

    python bin/evaluate.py indir=PAIRS predictdir=PREDICTIONS outdir=OUT    # predictions named after the masks
    python bin/evaluate.py indir=PAIRS model.path=runs/demo outdir=OUT
    python bin/evaluate.py indir=PAIRS model.path=runs/demo outdir=OUT metrics=[psnr_hole,lpips_squeeze] \\
        weights.lpips_squeeze=FILE
"""

from omegaconf import DictConfig
from tqdm import tqdm

import lama
from lama.config import build, run
from lama.data.evaluation_set import PairFolder, PredictionFolder
from lama.data.images import image_to_tensor, mask_to_tensor
from lama.evaluation.tables import markdown_table, write_results


def main(config: DictConfig) -> None:
    if (config.predictdir is None) == (config.model.path is None):
        raise ValueError("expected either predictdir=FOLDER or model.path=MODEL")
    pairs = PairFolder(config.indir)
    if config.model.path is None:
        predictions = PredictionFolder(config.predictdir, pairs)
        complete = predictions.read
    else:
        inpainter = lama.load(config.model.path, config.device)
        complete = lambda pair: inpainter(pair.image, pair.mask)  # noqa: E731
    evaluator = build(config.evaluator, "evaluator")
    for pair in tqdm(pairs, desc="evaluating", unit="picture"):
        completed, image = image_to_tensor(complete(pair))[None], image_to_tensor(pair.image)[None]
        evaluator.update([pair.name], completed, image, mask_to_tensor(pair.mask)[None])
    results = evaluator.compute()
    about = {"indir": str(config.indir), "predictions": str(config.predictdir or config.model.path)}
    about["evaluation_set"] = ", ".join(manifest.hash for manifest in pairs.manifests) or "no manifest.json"
    outdir = write_results(config.outdir, results, evaluator.per_image(), about)
    print(markdown_table({"prediction": results}))
    print(f"{len(pairs)} pictures; written to {outdir}: metrics.json, per_image.csv, table.md")


if __name__ == "__main__":
    run(main, "evaluation", "default")
