"""Many trainings of one question, on a cluster or here, and the paper's tables out of them.

SLURM is Hydra's submitit launcher and Lightning; nothing here talks to a cluster but ``slurm`` (what is there, what
runs) and ``launch`` (Hydra).
"""

from lama.sweeps.start import start

__all__ = ["start"]
