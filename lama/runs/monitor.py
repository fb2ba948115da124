"""The validation metric that selects ``models/best.safetensors``, chosen before the first step."""

from lama.evaluation import METRICS, Evaluator, higher_is_better

PUBLISHED = "val_ssim_fid100_f1_total_mean"  # the monitor of the published trainings


def choose_monitor(monitor: str, evaluator: Evaluator, images: int) -> tuple[str, str]:
    """The logged name, such as ``val_ssim_total_mean``, and "max" or "min", the direction in which it improves.

    ``auto`` takes the metric with the lowest ``monitor_rank`` of those that are measured on a validation set of
    ``images`` images. Raises ValueError for a name that will not be measured.
    """
    usable = [name for name in evaluator.metrics if evaluator.why_not(name, images) is None]
    if monitor == "auto":
        if not usable:
            raise ValueError(f"monitor=auto: nothing is measured; evaluator.metrics is {evaluator.metrics}")
        metric = min(usable, key=lambda name: METRICS[name].monitor_rank)
    else:
        metric = monitor.removeprefix("val_").removesuffix("_total_mean")
        if metric not in usable or monitor != f"val_{metric}_total_mean":
            why = evaluator.why_not(metric, images) or "not measured in this run"
            known = ", ".join(f"val_{name}_total_mean" for name in usable)
            raise ValueError(f"monitor={monitor}: {why}; expected auto or one of {known}")
    return f"val_{metric}_total_mean", "max" if higher_is_better(metric) else "min"
