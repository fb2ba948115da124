"""The published protocols: ``configs/evaluation/protocol``."""

from typing import cast

from lama.config.composing import compose
from lama.config.gate import build
from lama.evaluation.benchmark import Benchmark


def load_protocol(name: str, config_dir: str | None = None) -> Benchmark:
    """The protocol ``name``, of this package or of ``config_dir``/protocol. Raises ValueError for a wrong one."""
    config = compose("evaluation", "default", [f"protocol={name}"], config_dir)
    return cast(Benchmark, build(config.protocol, "protocol"))
