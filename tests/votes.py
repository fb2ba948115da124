"""A small evaluation set with results of three methods, and people whose votes follow planted strengths."""

import json

import numpy as np
from PIL import Image

STRENGTHS = {
    "weak_telea": -1.0,
    "secret_lama": 1.2,
    "middling": 0.0,
}  # the order of the folders is not that of the scores


def write_set(folder, images=6, size=(40, 56)):
    """``folder``/set, and a folder of results for each method; returns the arguments of the command."""
    rng = np.random.default_rng(0)
    methods = {}
    for i in range(images):
        mask = np.zeros(size, np.uint8)
        mask[10:25, 12 + i : 30] = 255
        save(folder / "set" / f"holiday{i}.png", rng.integers(0, 256, (*size, 3), np.uint8))
        save(folder / "set" / f"holiday{i}_mask000.png", mask)
    for name in STRENGTHS:
        methods[name] = str(folder / f"results_{name}")
        for i in range(images):
            save(folder / f"results_{name}" / f"holiday{i}_mask000.png", rng.integers(0, 256, (*size, 3), np.uint8))
    return str(folder / "set"), methods


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def choice(rng, left, right, ties=0.1):
    """left, right or equal, as a person votes whose preferences follow ``STRENGTHS``."""
    if rng.random() < ties:
        return "equal"
    return "left" if rng.random() < 1 / (1 + np.exp(STRENGTHS[right] - STRENGTHS[left])) else "right"


def methods_of(pictures, content):
    """The method whose stored result is the picture ``content``; ``pictures`` is {method: folder}."""
    shown = np.asarray(Image.open(content))
    for method, folder in pictures.items():
        for path in folder.iterdir():
            if np.array_equal(np.asarray(Image.open(path)), shown):
                return method
    raise AssertionError("a picture of no method")


def write_evaluation(folder, study, scores, predictions, **about):
    """The files of an evaluation that the report reads; ``scores`` is {image: {metric: score}}."""
    folder.mkdir(parents=True)
    content = {"protocol": "p", "evaluation_set": study.evaluation_set, "overall": {}, "predictions": str(predictions),
               "predictions_by": "predictdir"} | about  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(content))
    metrics = list(next(iter(scores.values())))
    lines = [",".join(["name", *metrics])]
    lines += [",".join([name, *(str(row[metric]) for metric in metrics)]) for name, row in scores.items()]
    (folder / "per_image.csv").write_text("\n".join(lines) + "\n")
    return str(folder)
