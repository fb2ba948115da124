"""The folder of a study: study.json says which images, methods and question the votes in votes.csv are about."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lama.data.evaluation_set import PairFolder, PredictionFolder
from lama.data.manifest import digest
from lama.files import read_json, sha256_of, write_text
from lama.pictures.images import open_header, upright_size

STUDY, VOTES = "study.json", "votes.csv"


@dataclass(frozen=True)
class Study:
    """The images and methods that people compare. ``identity`` decides whether an earlier session may go on."""

    indir: str
    evaluation_set: list[str]  # hashes, as in metrics.json
    images: list[str]  # the names of the masks
    folders: dict[str, str]  # of the predictions of each method
    sha256: dict[str, str]  # of the predictions of each method
    question: str
    seed: int
    format: int = field(default=1)

    @property
    def methods(self) -> list[str]:
        return list(self.folders)

    def identity(self) -> dict[str, Any]:
        """{name in messages: value} of everything that must not change between sessions."""
        return {"indir": self.evaluation_set, "methods": self.sha256, "question": self.question, "seed": self.seed}


def describe(indir: str | Path, methods: Mapping[str, str], question: str, seed: int) -> tuple[Study, "Pictures"]:
    """The study of the predictions in the folders ``methods`` for the masks in ``indir``, and its pictures.

    Raises FileNotFoundError or ValueError for fewer than two methods, a missing, extra or unreadable prediction, one of
    another size than its image, and two methods with the same predictions.
    """
    if len(methods) < 2:
        raise ValueError(f"methods={dict(methods)}: expected two or more, {{NAME: FOLDER, NAME: FOLDER}}")
    odd = next((name for name in methods if not name.isprintable() or not name.strip()), None)
    if odd is not None:
        raise ValueError(f"methods: {odd!r}: expected a name of printable characters")
    pairs = PairFolder(indir)
    predictions = {name: PredictionFolder(folder, pairs) for name, folder in methods.items()}
    hashes: dict[str, str] = {}
    with tqdm(total=len(methods) * len(pairs), desc="reading", unit="image", delay=2) as progress:
        for name, folder in predictions.items():
            files = {}
            for mask, size in zip(pairs.names, pairs.sizes, strict=True):
                files[mask] = sha256_of(_of_size(folder.by_name[mask], size))
                progress.update()
            hashes[name] = digest(files)
    same = next(((a, b) for a in hashes for b in hashes if a < b and hashes[a] == hashes[b]), None)
    if same is not None:
        raise ValueError(f"methods: {same[0]} and {same[1]} have the same predictions; expected different ones")
    places = {name: str(Path(folder).expanduser().resolve()) for name, folder in methods.items()}
    study = Study(str(Path(indir).expanduser().resolve()), pairs.hashes(), pairs.names, places, hashes, question, seed)
    return study, Pictures(pairs, predictions)


@dataclass(frozen=True)
class Pictures:
    """The files of a study."""

    pairs: PairFolder
    predictions: Mapping[str, PredictionFolder]


def enter(out: Path, study: Study) -> Study:
    """Begin ``study`` in the folder ``out``, or go on with it there; its stored description is returned.

    Raises ValueError if the folder holds another study, or votes without a description.
    """
    if not (out / STUDY).is_file():
        if (out / VOTES).is_file():
            raise ValueError(f"out={out}: holds {VOTES} without {STUDY}; choose another out=, or remove {VOTES}")
        write_text(out / STUDY, json.dumps(asdict(study), indent=1, ensure_ascii=False) + "\n")
        return study
    stored = stored_study(out)
    before, now = stored.identity(), study.identity()
    changed = next((key for key in before if before[key] != now[key]), None)
    if changed is not None:
        earlier = _difference(changed, before[changed], now[changed])
        raise ValueError(
            f"out={out}: holds a study with {earlier}; choose another out=, or repeat its command to go on"
        )
    return stored


def stored_study(out: Path) -> Study:
    """The study in a folder. Raises FileNotFoundError or ValueError if there is none."""
    if not (out / STUDY).is_file():
        raise FileNotFoundError(f"out={out}: no {STUDY} in it; expected the folder of a study")
    try:
        return Study(**read_json(out / STUDY))
    except TypeError:
        raise ValueError(f"{out / STUDY}: damaged, or of another version") from None


def stored_before(out: str) -> dict[str, Any]:
    """{key of the command: value} of the study in a folder, to go on with it; empty if there is none."""
    folder = Path(out).expanduser()
    if not (folder / STUDY).is_file():
        return {}
    study = stored_study(folder)
    return {"indir": study.indir, "methods": study.folders, "question": study.question, "seed": study.seed}


def _difference(key: str, before: Any, now: Any) -> str:
    if key == "indir":
        return "other images or masks in indir="
    if key == "methods" and before.keys() == now.keys():
        return f"other predictions of {next(name for name in before if before[name] != now[name])}"
    return f"{key}={', '.join(before) if key == 'methods' else before}"


def _of_size(path: Path, size: tuple[int, int]) -> Path:
    """``path``, if its header can be read and says ``size``. Raises ValueError otherwise."""
    try:
        with open_header(path) as header:
            found = upright_size(header)
    except Exception as error:  # Pillow raises errors of many types
        raise ValueError(f"{path}: not a readable image ({type(error).__name__})") from error
    if found != size:
        (w, h), (iw, ih) = found, size
        raise ValueError(f"{path}: prediction is {w} x {h}, but its image is {iw} x {ih} pixels")
    return path
