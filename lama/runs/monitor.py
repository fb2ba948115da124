"""Which validation metric chooses ``models/best.safetensors``, decided before the first step."""

from lama.evaluation import Evaluator, higher_is_better

PREFERRED = ("ssim_fid100_f1", "lpips_fid100_f1", "lpips_vgg", "lpips_alex", "lpips_squeeze", "ssim")


def choose_monitor(monitor: str, evaluator: Evaluator, images: int) -> tuple[str, str]:
    """The logged name, ``val_ssim_total_mean`` say, and whether the best is its "max" or "min".

    ``auto`` takes the first of ``PREFERRED`` that is measured on a validation set of so many ``images``; the first is
    what the published trainings chose by. Raises ValueError for a name that will not be measured.
    """
    usable = [name for name in evaluator.metrics if evaluator.why_not(name, images) is None]
    if monitor == "auto":
        metric = next((name for name in PREFERRED if name in usable), usable[0] if usable else None)
        if metric is None:
            raise ValueError(f"monitor=auto: nothing is measured; evaluator.metrics is {evaluator.metrics}")
    else:
        metric = monitor.removeprefix("val_").removesuffix("_total_mean")
        if metric not in usable or monitor != f"val_{metric}_total_mean":
            why = evaluator.why_not(metric, images) or "not measured in this run"
            known = ", ".join(f"val_{name}_total_mean" for name in usable)
            raise ValueError(f"monitor={monitor}: {why}; expected auto or one of {known}")
    return f"val_{metric}_total_mean", "max" if higher_is_better(metric) else "min"
