"""The scores by which LaMa selects its checkpoints: a similarity and FID in one number (official ``evaluator.py``)."""

from lama.interfaces import DerivedMetric


def fid100_f1(similarity: float, fid: float) -> float:
    """2 s f / (s + f + 0.001) with f = max(0, 100 - FID) / 100."""
    relative = max(0.0, 100 - fid) / 100
    return 2 * similarity * relative / (similarity + relative + 1e-3)


class SSIMFidF1(DerivedMetric):
    """Harmonic mean of SSIM and (100 - FID) / 100. The bounds hold where SSIM is not negative."""

    label, higher_is_better, bounds = "SSIM-FID F1", True, (0.0, 1.0)
    parts = ("ssim", "fid")
    monitor_rank = 0  # the published trainings use it

    def combine(self, *means: float) -> float:
        return fid100_f1(*means)


class LPIPSFidF1(DerivedMetric):
    """Harmonic mean of 1 - LPIPS and (100 - FID) / 100. The bounds hold where LPIPS is at most 1."""

    label, higher_is_better, bounds = "LPIPS-FID F1", True, (0.0, 1.0)
    parts = ("lpips_vgg", "fid")
    monitor_rank = 1

    def combine(self, *means: float) -> float:
        distance, fid = means
        return fid100_f1(1 - distance, fid)
