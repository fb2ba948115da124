"""Own code without a fork: the packages of ``plugins=[my_project]``, their classes and their metrics."""

from collections.abc import Sequence

from lama import plugins


def use_plugins(names: Sequence[str]) -> None:
    """Import packages: their classes may be targets, and the entries of their ``METRICS`` are metrics.

    Raises ValueError for a package that cannot be imported, an incomplete metric, and a metric name that is taken.
    """
    packages = plugins.use(names)
    if packages:
        from lama.evaluation.metrics import register  # imports torch: only where a command uses it anyway

        for package in packages:
            for name, metric in getattr(package, "METRICS", {}).items():
                register(name, metric, package.__name__)
