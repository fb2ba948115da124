"""The published protocols: ``configs/evaluation/protocol``."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from lama.config.composing import compose
from lama.config.gate import build

if TYPE_CHECKING:  # commands that need no evaluation start sooner without torch
    from lama.evaluation.benchmark import Benchmark


def load_protocol(name: str) -> "Benchmark":
    """The protocol ``name`` of this package, or of a file FOLDER/protocol/NAME.yaml.

    Raises FileNotFoundError for a missing file, ValueError for an unknown or a wrong protocol.
    """
    file, folder = Path(name).expanduser(), None
    if file.suffix == ".yaml":
        if not file.is_file():
            raise FileNotFoundError(f"protocol={name}: no such file")
        if file.absolute().parent.name != "protocol":
            raise ValueError(f"protocol={name}: expected a file in a folder called protocol, as --config-dir has it")
        name, folder = file.stem, str(file.absolute().parents[1])
    config = compose("evaluation", "default", [f"protocol={name}"], folder)
    return cast("Benchmark", build(config.protocol, "protocol"))
