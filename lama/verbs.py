"""The verbs of the command line, and how a user types them: ``lama train`` or ``python bin/train.py``."""

import argparse
import os
import re
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

SCRIPTS = Path(__file__).resolve().parents[1] / "bin"  # exists in a clone only


class Verb(NamedTuple):
    """One command. ``lama.commands.<name, - as _>`` holds it; a clone has ``bin/<script>.py`` too."""

    script: str
    summary: str


VERBS = {
    "train": Verb("train", "train a model, or the rows of a table"),
    "predict": Verb("predict", "remove objects from images"),
    "evaluate": Verb("evaluate", "measure predictions or a model on images and masks"),
    "evaluate-predicts": Verb("evaluate_predicts", "the official command for metrics"),
    "demo": Verb("demo", "serve a page: paint over an object in a photograph to remove it"),
    "report": Verb("report", "make an HTML page about a training run"),
    "export": Verb("export", "write a model as ONNX, TorchScript, pt2, a web page or a darktable package"),
    "weights": Verb("weights", "list, fetch and verify released networks"),
    "publish": Verb("publish", "put a training on the Hugging Face hub, with a model card"),
    "convert": Verb("convert", "write a model in our layout or the official one"),
    "study": Verb("study", "serve a page on which people compare methods blindly; scores, agreement of metrics"),
    "compare": Verb("compare", "compare evaluations image by image"),
    "sweep": Verb("sweep", "show, restart and evaluate the trainings of a sweep"),
    "tables": Verb("make_tables", "make tables: the paper's with our numbers, or your own"),
    "figure": Verb("figure", "draw figures for a paper from evaluations and runs"),
    "trace": Verb("trace", "print where a number comes from, back to the data"),
    "new": Verb("new_project", "start a package of your own: a loss, a mask, a metric, a network"),
    "check-data": Verb("check_data", "check a data set before training on it"),
    "masks": Verb("gen_mask_dataset", "make a frozen evaluation set of images and masks"),
    "contact-sheet": Verb("contact_sheet", "draw what masks and augmentations look like"),
    "prepare": Verb("prepare", "bring a published test set into our layout"),
    "prepare-places": Verb("prepare_places", "unpack Places365 into the official layout"),
    "prepare-celebahq": Verb("prepare_celebahq", "unpack CelebA-HQ into the official layout"),
    "bench": Verb("bench", "measure speed, as ratios"),
    "gpu-check": Verb("gpu_check", "check a GPU: right, fast, enough memory"),
}


def program(argv0: str) -> list[str]:
    """The program with the ``sys.argv[0]`` ``argv0``, as typed: lama, python -m lama or python SCRIPT."""
    started = Path(argv0)
    if started.parts[-2:] == ("lama", "__main__.py"):
        return ["python", "-m", "lama"]
    return ["lama"] if started.stem == "lama" else ["python", os.path.relpath(argv0)]


def typed(verb: str) -> str:
    """The command for ``verb``: a script in a clone, unless the console command started this process."""
    words, script = program(sys.argv[0]), SCRIPTS / f"{VERBS[verb].script}.py"
    if words[-1] == "lama":
        return f"{' '.join(words)} {verb}"
    return f"python bin/{script.name}" if script.is_file() else f"lama {verb}"


def quoted(value: str) -> str:
    """A value in Hydra's quotes, which allow any character."""
    end = len(value) - len(value.rstrip("\\"))  # Hydra reads a backslash as an escape only before a quote
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", value) + "\\" * end + "'"


def setting(key: str, value: str | Path) -> str:
    """KEY=VALUE to paste into a shell, quoted where Hydra or the shell would read the value in another way."""
    plain = re.fullmatch(r"[A-Za-z0-9_./@+-]+", str(value))
    return shlex.quote(f"{key}={value if plain else quoted(str(value))}")


def typed_alike(command: str, verb: str) -> str:
    """The command for ``verb``, in the style of ``command``, a training."""
    words = shlex.split(command)
    script = next((Path(word) for word in words if Path(word).name == "train.py"), None)
    if script is not None:
        return "python " + shlex.quote(str(script.with_name(f"{VERBS[verb].script}.py")))
    return shlex.join([*words[: words.index("train")], verb]) if "train" in words else typed(verb)


def parser(verb: str, usage: str) -> argparse.ArgumentParser:
    """A parser of the arguments of ``verb``; its --help begins with ``usage``, the docstring of the command."""
    raw = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(typed(verb), description=spelled(usage), formatter_class=raw)


def spelled(text: str) -> str:
    """``text`` with every ``lama VERB`` as this user types it."""
    return re.sub(rf"\blama ({'|'.join(VERBS)})(?![\w-])", lambda found: typed(found[1]), text)


def subprocess_of(verb: str) -> list[str]:
    """The start of a command line that runs ``verb`` in a process of its own, from a clone or an installed wheel."""
    return [sys.executable, "-m", "lama", verb]
