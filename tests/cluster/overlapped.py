"""Seconds of a backward pass and the exchange of its gradients, with and without overlap: ``overlapped.py RANK``.

The layers sleep in place of computing, as a host does while its GPU computes; the network is real.
"""

import json
import os
import sys
import time

import torch
from torch import distributed, nn

from lama.training import averaging

LAYERS, NUMBERS, SECONDS = 8, 2**19, 0.1  # 2 MB and a tenth of a second for each layer


class Sleeps(torch.autograd.Function):
    @staticmethod
    def forward(context, x, weight):
        context.save_for_backward(weight)
        return x + weight[0]

    @staticmethod
    def backward(context, gradient):
        time.sleep(SECONDS)
        return gradient, torch.ones_like(context.saved_tensors[0]) * gradient


def seconds(weights, overlap):
    x = torch.zeros((), requires_grad=True)
    for weight in weights:
        weight.grad = None
        x = Sleeps.apply(x, weight)
    distributed.barrier()
    began = time.perf_counter()
    averaging.averaged_backward(x.backward, weights, x, overlap)
    return time.perf_counter() - began


if __name__ == "__main__":
    os.environ |= {"RANK": sys.argv[1], "WORLD_SIZE": "2", "MASTER_ADDR": "10.77.0.1", "MASTER_PORT": "29511",
                   "GLOO_SOCKET_IFNAME": "eth0"}  # fmt: skip
    averaging.BUCKET = NUMBERS
    distributed.init_process_group("gloo")
    weights = [nn.Parameter(torch.zeros(NUMBERS)) for _ in range(LAYERS)]
    rounds = [[seconds(weights, overlap) for overlap in (False, True)] for _ in range(4)][1:]
    print(json.dumps([min(times) for times in zip(*rounds, strict=True)]))
    distributed.barrier()
    distributed.destroy_process_group()
