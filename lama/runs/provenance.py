"""``provenance.json`` of a run folder: the command, the code and the machine of every start, and the data."""

import json
from pathlib import Path
from typing import Any

import yaml

from lama import plugins
from lama.checkpoints.identity import identify
from lama.data.datamodule import InpaintingDataModule
from lama.files import read_json, write_text
from lama.machine.provenance import commit, environment, packages

NAME = "provenance.json"


def note_start(run_dir: Path, command: str, data: InpaintingDataModule, iteration: int, config: str) -> None:
    """Add a start of the run at ``iteration`` to its provenance; a new run begins the file. ``config`` is YAML.

    "fingerprint" identifies the images by their names and sizes, "manifests" a frozen validation set by its content.
    """
    known = read_provenance(run_dir) if iteration else {}
    origin = (yaml.safe_load(config) or {}).get("init_from")
    start = {
        "iteration": iteration, "command": command, "commit": commit(), "plugins": packages(plugins.used()),
        "environment": environment(),
    }  # fmt: skip
    content = {
        "starts": [*known.get("starts", []), start],
        "data": {
            "images": data.sampler.length,
            "fingerprint": data.fingerprint,
            "manifests": [manifest.hash for manifest in getattr(data.val_pairs, "manifests", [])],
        },
        "init_from": identify(origin) if origin and not iteration else known.get("init_from"),
    }
    write_text(run_dir / NAME, json.dumps(content, indent=2) + "\n")


def read_settings(run_dir: Path) -> dict[str, Any]:
    """The configuration of a run; empty if its config.yaml is missing or damaged."""
    try:
        content = yaml.safe_load((run_dir / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def read_provenance(run_dir: Path) -> dict[str, Any]:
    """The content of the file; empty if there is none or it is damaged."""
    return read_json(run_dir / NAME)
