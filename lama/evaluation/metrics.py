"""The registry of metrics. A new metric is a file with a class of ``lama.interfaces`` and one line in ``METRICS``."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lama.evaluation.cmmd import CMMD
from lama.evaluation.colour import ColourError
from lama.evaluation.dots import Dots2, Dots4, Dots8
from lama.evaluation.fd_dinov2 import FDDinoV2
from lama.evaluation.fid import FID
from lama.evaluation.ids import PIDS, UIDS
from lama.evaluation.kid import KID
from lama.evaluation.lpips import (
    LPIPS,
    LPIPSAlex,
    LPIPSAlexBackground,
    LPIPSAlexHole,
    LPIPSBackground,
    LPIPSHole,
    LPIPSSqueeze,
    LPIPSSqueezeBackground,
    LPIPSSqueezeHole,
)
from lama.evaluation.pixel import L1, PSNR, L1Hole, PSNRBackground, PSNRHole
from lama.evaluation.rc_s import RCS
from lama.evaluation.remove import ReMOVE
from lama.evaluation.seam import BoundaryError
from lama.evaluation.selectors import LPIPSFidF1, SSIMFidF1
from lama.evaluation.sharpness import SharpnessError
from lama.evaluation.ssim import SSIM, ScikitImageSSIM, SSIMBackground, SSIMHole

METRICS: dict[str, type[Any]] = {  # in the order of tables
    "psnr_hole": PSNRHole,
    "ssim_hole": SSIMHole,
    "l1_hole": L1Hole,
    "psnr_background": PSNRBackground,
    "ssim_background": SSIMBackground,
    "psnr": PSNR,
    "ssim": SSIM,
    "ssim_skimage": ScikitImageSSIM,
    "l1": L1,
    "lpips_vgg": LPIPS,
    "lpips_alex": LPIPSAlex,
    "lpips_squeeze": LPIPSSqueeze,
    "lpips_vgg_hole": LPIPSHole,
    "lpips_alex_hole": LPIPSAlexHole,
    "lpips_squeeze_hole": LPIPSSqueezeHole,
    "lpips_vgg_background": LPIPSBackground,
    "lpips_alex_background": LPIPSAlexBackground,
    "lpips_squeeze_background": LPIPSSqueezeBackground,
    "colour_error": ColourError,
    "rc_s": RCS,
    "remove": ReMOVE,
    "boundary_error": BoundaryError,
    "sharpness_error": SharpnessError,
    "dots_2": Dots2,
    "dots_4": Dots4,
    "dots_8": Dots8,
    "fid": FID,
    "kid": KID,
    "cmmd": CMMD,
    "fd_dinov2": FDDinoV2,
    "p_ids": PIDS,
    "u_ids": UIDS,
    "ssim_fid100_f1": SSIMFidF1,
    "lpips_fid100_f1": LPIPSFidF1,
}
PRESETS = {
    "quick": ["psnr_hole", "ssim_hole", "l1_hole", "psnr", "ssim", "l1"],
    "paper": ["fid", "lpips_vgg", "ssim", "lpips_fid100_f1", "psnr_hole", "ssim_hole", "l1_hole", "psnr", "l1"],
    "removal": [
        "fid", "cmmd", "fd_dinov2", "psnr", "ssim", "lpips_alex", "psnr_hole", "ssim_hole", "lpips_alex_hole",
        "psnr_background", "ssim_background", "lpips_alex_background", "rc_s", "remove", "boundary_error",
        "sharpness_error", "colour_error", "dots_2", "dots_4", "dots_8",
    ],
    "full": list(METRICS),
}  # fmt: skip


def register(name: str, metric: type[Any], owner: str) -> None:
    """Add a metric of another package. Raises ValueError if it is incomplete, or its name or label is another's."""
    lacking = [each for each in ("label", "higher_is_better", "bounds") if not hasattr(metric, each)]
    if lacking or sum(hasattr(metric, each) for each in ("score", "measure", "parts")) != 1:
        lack = f"lacks {', '.join(lacking)}" if lacking else "expected an ImageMetric, a SetMetric or a DerivedMetric"
        raise ValueError(f"metric {name} of {owner}: {lack} (lama.interfaces)")
    labels = {known.label: other for other, known in METRICS.items() if other != name}
    if METRICS.get(name, metric) is not metric or name in PRESETS:
        raise ValueError(f"metric {name} of {owner}: the name is taken; choose another")
    if metric.label in labels:
        raise ValueError(f"metric {name} of {owner}: {labels[metric.label]} has the label {metric.label!r} too")
    METRICS[name] = metric


def metric_names(metrics: Sequence[str] | str, abouts: Iterable[Mapping[str, Any]] = ()) -> list[str]:
    """The names in a preset, or in a list without repetitions. Raises ValueError for an unknown name or none.

    ``abouts``: metrics.json of evaluations that have the metrics; the error names their packages.
    """
    own = f"for a metric of your own {plugins_advice(abouts)}"
    if isinstance(metrics, str):
        if metrics not in PRESETS and metrics not in METRICS:
            known = f"{', '.join(PRESETS)}, or of {', '.join(METRICS)}"
            raise ValueError(f"metrics={metrics}: expected a list such as [psnr,ssim], or one of {known}; {own}")
        return PRESETS.get(metrics, [metrics])
    if not metrics:
        raise ValueError(f"metrics=[]: expected at least one of {', '.join(METRICS)}")
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise ValueError(f"metrics: unknown {unknown[0]!r}; known are {', '.join(METRICS)}; {own}")
    return list(dict.fromkeys(metrics))


def left_out(abouts: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for the metrics of packages that are not imported; ``abouts`` is the metrics.json of each evaluation."""
    unknown = {name: None for about in abouts for name in about.get("overall", {}) if name not in METRICS}
    return [f"{', '.join(unknown)} left out; {plugins_advice(abouts)}"] if unknown else []


def plugins_advice(abouts: Iterable[Mapping[str, Any]] = ()) -> str:
    """``add plugins=[paper]``: the packages that evaluations were made with; ``abouts`` is their metrics.json each."""
    packages = {name: None for about in abouts for name in (about.get("configuration") or {}).get("plugins") or ()}
    return f"add plugins=[{','.join(packages) or 'PACKAGE'}]"


def families(metrics: Iterable[str]) -> dict[str, list[str]]:
    """{family: its metrics} of metrics of images; one without a family is a family of its own."""
    found: dict[str, list[str]] = {}
    for name in filter(scores_images, metrics):
        found.setdefault(getattr(METRICS[name], "family", name), []).append(name)
    return found


def with_parts(metrics: Iterable[str]) -> list[str]:
    """The metrics to measure, in the order of the registry: a derived metric is replaced by its parts."""
    needed = {part for name in metrics for part in getattr(METRICS[name], "parts", (name,))}
    return [name for name in METRICS if name in needed]


def scores_images(metric: str) -> bool:
    """True for an ``ImageMetric``."""
    return hasattr(METRICS[metric], "score")


def measures_sets(metric: str) -> bool:
    """True for a ``SetMetric``."""
    return hasattr(METRICS[metric], "measure")


def weight_files(metrics: Iterable[str]) -> list[str]:
    """Names of the weight files that these metrics and their parts read."""
    return list(dict.fromkeys(file for name in with_parts(metrics) for file in METRICS[name].weight_files))


def higher_is_better(metric: str) -> bool:
    """The direction of a metric, by its name. Raises KeyError for an unknown one."""
    return bool(METRICS[metric].higher_is_better)


def arrow(metric: str) -> str:
    """↑ where higher is better, ↓ where lower is better."""
    return "↑" if higher_is_better(metric) else "↓"
