"""The start of a training on several machines: the same images, the same settings, one place to continue from.

Only rank 0 writes, so on disks that the machines do not share only its machine has the checkpoint. It sends it to the
others.
"""

import logging
import socket
from dataclasses import dataclass
from threading import Timer
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.plugins.environments import LightningEnvironment
from torch import distributed

from lama.data.datamodule import InpaintingDataModule
from lama.machine.network import let_gloo_use, own_address
from lama.machine.ranks import from_rank_0, rank_and_world
from lama.runs.checkpointing import identity
from lama.runs.config_changes import Request, between_ranks, joined
from lama.runs.heartbeat import Board, Heartbeat
from lama.runs.resume import Resumption

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """A rank before its first step."""

    rank: str  # with its machine: "rank 1 on host1 (10.0.0.2)"
    address: str
    port: int  # of its board; 0: it has none
    iteration: int  # of the checkpoint that it has found; -1: none
    checkpoint: str  # its identity
    images: int
    files: str  # their fingerprint
    request: Request


def start_together(
    trainer: Trainer, resume: Resumption | None, data: InpaintingDataModule, request: Request
) -> tuple[Resumption | None, Heartbeat | None]:
    """The run that all ranks continue, the one of rank 0; and what watches the ranks, not started yet.

    It connects the ranks if torchrun or SLURM has started them; else nothing watches them, since Lightning starts them
    later, on one machine. Raises ValueError, the same on all ranks, where they cannot train together.
    """
    if trainer.world_size == 1 or isinstance(trainer.strategy.cluster_environment, LightningEnvironment):  # type: ignore[attr-defined]
        return resume, None
    main = trainer.strategy.cluster_environment.main_address  # type: ignore[attr-defined]
    address = own_address(main, trainer.num_nodes)
    if trainer.num_nodes > 1:
        let_gloo_use(address)
    notice = Timer(30, logger.warning, [f"waiting until all {trainer.world_size} processes have started"])
    notice.daemon = True
    notice.start()
    try:
        trainer.strategy.setup_environment()
    finally:
        notice.cancel()
    rank, world = rank_and_world()
    iteration, content = (-1, None) if resume is None else (resume.progress.iteration, resume.content)
    board = Board(world) if rank == 0 else None
    start = Start(f"rank {rank} on {socket.gethostname()} ({address})", address, 0 if board is None else board.port,
                  iteration, identity(content), data.sampler.length, data.fingerprint, request)  # fmt: skip
    starts: list[Any] = [None] * world
    distributed.all_gather_object(starts, start)
    for start in starts:
        _check(starts[0], start)
    if any(start.checkpoint != starts[0].checkpoint for start in starts):
        logger.info("the checkpoint of iteration %d is sent to the machines that lack it", starts[0].iteration)
        resume = from_rank_0(lambda: resume)
    reached = main if starts[0].address.startswith("127.") else starts[0].address
    return resume, Heartbeat([start.rank for start in starts], rank, (reached, starts[0].port), board)


def _check(first: Start, start: Start) -> None:
    changes = between_ranks(first.request, start.request)
    if changes:
        raise ValueError(f"training: {start.rank} has other settings than {first.rank}: {joined(changes)}; start all "
                         "machines with the same command")  # fmt: skip
    if (first.images, first.files) != (start.images, start.files):
        found = f"{start.images} images to train on, {first.rank} has {first.images}"
        if first.images == start.images:
            found = f"images of other names or sizes than {first.rank}"
        raise ValueError(f"data: {start.rank} has {found}; all machines need the same files")
    if start.iteration > first.iteration:
        lacks = "none" if first.iteration < 0 else f"one of iteration {first.iteration}"
        raise ValueError(f"run_dir: {start.rank} has a checkpoint of iteration {start.iteration}, {first.rank} has "
                         f"{lacks}; rank 0 writes the checkpoints: let the same machine be the first, or copy its run "
                         "folder to the first, or choose another run_dir=")  # fmt: skip
