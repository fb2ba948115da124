"""The part of an evaluation that one process has measured, as a file: scores, areas and features of its images."""

import json
import zipfile
from pathlib import Path

import numpy as np

from lama.evaluation.evaluator import Evaluator
from lama.files import atomic_write


def write_piece(file: Path, evaluator: Evaluator, key: str) -> None:
    """Write everything that ``evaluator`` has measured, atomically; ``key`` says of which files, and how."""
    store = evaluator.store
    about = {
        "key": key,
        "names": evaluator.names,
        "sizes": sorted(evaluator.sizes),
        "counts": [store.computed, store.remembered],
    }
    arrays = {"about": np.array(json.dumps(about)), "areas": np.array(evaluator.areas, np.float64)}
    arrays |= {f"score {name}": np.array(values, np.float64) for name, values in evaluator.scores.items()}
    for network, (fake, real) in evaluator.features.items():
        arrays |= {f"fake {network}": fake.array, f"real {network}": real.array}
    with atomic_write(file) as partial, partial.open("wb") as content:
        np.savez(content, allow_pickle=False, **arrays)


def key_of(file: Path) -> str | None:
    """The key of a piece; None if there is none, or it is damaged."""
    try:
        with np.load(file, allow_pickle=False) as content:
            return str(json.loads(str(content["about"]))["key"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def include(evaluator: Evaluator, file: Path) -> None:
    """Add the images of a piece to ``evaluator``, which has the piece's metrics and networks."""
    with np.load(file, allow_pickle=False) as content:
        about = json.loads(str(content["about"]))
        scores = {name: content[f"score {name}"].tolist() for name in evaluator.scores}
        features = {key: (content[f"fake {key}"], content[f"real {key}"]) for key in evaluator.networks}
        sizes = {(height, width) for height, width in about["sizes"]}
        evaluator.include(about["names"], content["areas"].tolist(), sizes, scores, features)
    evaluator.store.computed += about["counts"][0]
    evaluator.store.remembered += about["counts"][1]
