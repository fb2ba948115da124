"""CUDA graphs of a network for prediction: all kernels of a forward pass are started at once, from a recording.

A GPU starts a kernel in microseconds, and a small image keeps it busy for little longer. A recording holds for one
shape of input and for the memory in which it was made.
See https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

Replay = Callable[[Tensor], Tensor]
WARM_UP = 3  # passes before a recording, in which libraries choose their kernels and take their work space


def record(network: nn.Module, x: Tensor) -> Replay:
    """A function that computes ``network`` for inputs of the shape of ``x``, from a recording. Needs CUDA.

    Raises RuntimeError for a network that cannot be recorded, such as one that reads a value.
    """
    given = x.clone()
    aside = torch.cuda.Stream(x.device)
    aside.wait_stream(torch.cuda.current_stream(x.device))
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            network(given)
    torch.cuda.current_stream(x.device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = network(given)

    def replay(x: Tensor) -> Tensor:
        given.copy_(x)
        graph.replay()
        return made.clone()

    return replay


class Graphed(nn.Module):
    """``network`` for inference, recorded for each shape that comes a second time, at most ``most`` of them.

    A recording is used if its result equals the network's bit for bit; otherwise, and where recording fails, one line
    says so and the network computes this shape by itself. The recording that was used least recently makes room.
    """

    def __init__(
        self, network: nn.Module, most: int = 4, recorder: Callable[[nn.Module, Tensor], Replay] = record
    ) -> None:
        super().__init__()
        self.network = network
        self.most = most
        self.recorder = recorder
        self.met: set[Any] = set()
        self.replays: OrderedDict[Any, Replay] = OrderedDict()

    def forward(self, x: Tensor) -> Tensor:
        key = (x.shape, x.stride(), x.dtype)
        if key in self.replays:
            self.replays.move_to_end(key)
            return self.replays[key](x)
        expected = self.network(x)
        if key not in self.met:
            self.met.add(key)
            return expected
        self.replays[key] = self._checked(x, expected)
        if len(self.replays) > self.most:
            self.replays.popitem(last=False)
        return expected

    def forward_chunked(self, x: Tensor) -> Tensor:
        """Without a recording: memory is scarce then."""
        return self.network.forward_chunked(x)  # type: ignore[operator]

    def _checked(self, x: Tensor, expected: Tensor) -> Replay:
        """A recording, or the network itself."""
        try:
            replay = self.recorder(self.network, x)
            if all(torch.equal(replay(x), expected) for _ in range(2)):
                return replay
            why = "its result differs"
        except RuntimeError as error:
            why = (str(error).strip().splitlines() or ["no message"])[0]
        logger.warning("graphs=true: computing %s without a recording: %s", "x".join(map(str, x.shape)), why)
        return self.network


def with_graphs(network: nn.Module, device: torch.device) -> nn.Module:
    """``network`` with recordings, or, without a GPU, as it is, with a line."""
    if device.type == "cuda":
        return Graphed(network)
    logger.info("graphs=true: CUDA graphs need an NVIDIA GPU; computing without them on %s", device.type)
    return network
