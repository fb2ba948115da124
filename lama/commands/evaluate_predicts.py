"""The official command for metrics: a table of predictions, by the area of the hole. `lama evaluate` reports more.

lama evaluate-predicts eval2_gpu IMAGES_AND_MASKS PREDICTIONS OUT.csv
lama evaluate-predicts configs/eval2_gpu.yaml IMAGES_AND_MASKS PREDICTIONS OUT.csv     # a name, or an official file

OUT.csv has the official layout: tabs, two lines of headings (metric, statistic), a line for each range of hole area.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from lama.config import build
from lama.verbs import parser


def main(arguments: Sequence[str]) -> None:
    expected = parser("evaluate-predicts", str(__doc__))
    expected.add_argument("config", help="eval1, eval2, eval2_gpu, eval2_jpg, eval2_test, ..., or a file")
    expected.add_argument("datadir", help="name.png with name_mask000.png")
    expected.add_argument("predictdir", help="completed images, named after the masks")
    expected.add_argument("outpath", type=Path, help="the table to write")
    options = expected.parse_args(arguments)
    from lama.config.official import official_evaluation
    from lama.data.evaluation_set import PairFolder, PredictionFolder, batches_by_size
    from lama.evaluation.official_table import METRICS, check_out, write_official_table
    from lama.machine.device import pick_device

    settings, notes = official_evaluation(options.config)
    for note in notes:
        logging.warning("%s", note)
    pairs = PairFolder(options.datadir, settings["img_suffix"])
    check_out(options.outpath)
    predictions = PredictionFolder(options.predictdir, pairs)
    evaluator = build({"_target_": "lama.evaluation.Evaluator", "metrics": list(METRICS), "min_images": 2,
                       "intervals": False}, "evaluator")  # fmt: skip
    device = pick_device("auto")
    for names, *tensors in batches_by_size(pairs, predictions.read, settings["batch_size"]):
        evaluator.update(names, *(tensor.to(device) for tensor in tensors))
    print(write_official_table(options.outpath, evaluator))
