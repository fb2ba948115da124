"""Compare two runs bit for bit."""

import torch
from safetensors import safe_open

from lama.runs.checkpointing import read_checkpoint


def everything(folder):
    """The compared parts: the last state, the metrics, the weights for inference."""
    content = read_checkpoint(folder / "checkpoints/last.ckpt")
    content["callbacks"]["Checkpoints"].pop("seconds")
    weights = {path.name: weights_of(path) for path in (folder / "models").iterdir()}
    best = sorted(path.name for path in (folder / "checkpoints").glob("iteration_*"))
    return content, weights, best, (folder / "metrics.csv").read_bytes()


def weights_of(path):
    """Tensors and metadata; the order of the latter in the file is chance."""
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()} | file.metadata()  # noqa: SIM118


def assert_equal(a, b, where=""):
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{where}.{i}")
    else:
        assert a == b, where
