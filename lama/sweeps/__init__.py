"""Sweeps: train and evaluate many configurations, on a cluster or here, and make the paper's tables from them.

Only two modules talk to SLURM: ``launch`` submits jobs through submitit, ``slurm`` asks for partitions and the queue.
Nothing is imported here: the state of thousands of jobs is read in a second, without torch.
"""

__all__: list[str] = []  # no YAML names a sweep
