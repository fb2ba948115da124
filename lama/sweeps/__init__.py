"""Sweeps: train and evaluate many configurations, on a cluster or here, and make the paper's tables from them.

Only two modules talk to SLURM: ``launch`` submits jobs through submitit, ``slurm`` asks for partitions and the queue.
"""

from lama.sweeps.start import start

__all__ = ["start"]
