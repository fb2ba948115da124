"""Fréchet Inception distance (Heusel et al., NeurIPS 2017) in LaMa's convention, that of pytorch-fid.

Inception of 2015-12-05, pictures as floats in [0, 1] resized bilinearly to 299 without antialiasing, covariance with
N - 1. The completed pictures are compared with the untouched ones of the same evaluation set.
"""

import torch
from torch import Tensor, nn

import lama.torchvision_ops  # noqa: F401  isort: skip  (before pytorch_fid, which imports torchvision)
from pytorch_fid import inception as pytorch_fid

from lama import pretrained


class FID:
    """Fréchet distance between the Inception features of completed and of true pictures.

    ``weights`` is the path of pt_inception-2015-12-05-6726825d.pth; None looks in the cache. Raises
    MissingWeightsError where it is missing, ValueError where the file is something else.
    """

    higher_is_better = False

    def __init__(self, weights: str | None = None) -> None:
        self.network = fid_inception(weights)
        self.reset()

    def update(self, completed: Tensor, target: Tensor, mask: Tensor) -> None:
        network = self.network.to(completed.device)
        with torch.no_grad():
            self.completed.append(network(completed)[0].flatten(1).cpu())
            self.target.append(network(target)[0].flatten(1).cpu())

    def compute(self) -> float:
        """nan for fewer than two images."""
        completed, target = torch.cat(self.completed), torch.cat(self.target)
        return float("nan") if len(completed) < 2 else frechet_distance(completed, target)

    def reset(self) -> None:
        self.completed: list[Tensor] = []
        self.target: list[Tensor] = []


def fid_inception(weights: str | None = None) -> nn.Module:
    """pytorch-fid's Inception with weights from this machine: (B, 3, H, W) in [0, 1] -> [(B, 2048, 1, 1)]."""
    file = pretrained.require("fid_inception", weights, download=False)
    state = pretrained.read_state_dict(file)
    downloader = pytorch_fid.load_state_dict_from_url
    pytorch_fid.load_state_dict_from_url = lambda *_, **__: state  # the package offers no path argument
    try:
        network: nn.Module = pytorch_fid.InceptionV3().eval()
    except RuntimeError as error:
        raise ValueError(
            f"weights.fid_inception: {file} is not the FID Inception: {' '.join(str(error).split())[:200]}"
        ) from error
    finally:
        pytorch_fid.load_state_dict_from_url = downloader
    return network


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """|mean_x - mean_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)) of two sets of features, (N, D) and (M, D).

    With S_x = A'A and S_y = B'B the trace of the root is the nuclear norm of A B': no matrix square root, nothing
    complex, and exact where there are fewer samples than dimensions.
    """
    x, y = x.double(), y.double()
    a, b = _covariance_factor(x), _covariance_factor(y)
    root_trace = torch.linalg.svdvals(a @ b.T).sum()
    means = (x.mean(0) - y.mean(0)).square().sum()
    return float(means + a.square().sum() + b.square().sum() - 2 * root_trace)


def _covariance_factor(x: Tensor) -> Tensor:
    """A with A'A = cov(x), of at most D rows: the centred samples themselves, or the R of their QR."""
    centred = (x - x.mean(0)) / (len(x) - 1) ** 0.5
    return centred if len(x) <= x.shape[1] else torch.linalg.qr(centred, mode="r").R
