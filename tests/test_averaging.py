"""Gradients are averaged in buckets during the backward pass: their bits, the bytes moved, the memory."""

import json
import time
import weakref

import pytest
import torch
from processes import forked
from torch import distributed, nn
from trainings import a_batch, make_module

from lama.machine.ranks import gather_rows
from lama.training import averaging

WIDTH = 10
SIZES = [(), (3, 2), (40,), (0,), (5,)]


def ranks(test):
    """``test(rank, *arguments)`` with a process group, on each of two ranks."""

    def run(*arguments):
        distributed.init_process_group("gloo")
        test(distributed.get_rank(), *arguments)
        distributed.barrier()
        distributed.destroy_process_group()

    return run


class Traffic:
    """Notes every tensor that is handed to ``all_reduce``: bytes in all, and bytes that live at once."""

    def __init__(self, monkeypatch, events):
        self.bytes = self.alive = self.peak = self.calls = 0
        self.events = events
        self.all_reduce = distributed.all_reduce
        monkeypatch.setattr(distributed, "all_reduce", self)

    def __call__(self, tensor, *arguments, **options):
        self.events.append("sent")
        size = tensor.untyped_storage().nbytes()
        end = time.monotonic() + 1  # gloo's threads let go of a finished bucket a moment later
        while self.alive + size > 4 * 2 * averaging.BUCKET and time.monotonic() < end:
            time.sleep(0.001)
        self.calls += 1
        self.bytes += size
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(tensor.untyped_storage(), self._freed, size)
        return self.all_reduce(tensor, *arguments, **options)

    def _freed(self, size):
        self.alive -= size


def a_network(rank):
    """Six layers of 110 numbers and one that only rank 1 uses, with a loss of the rank's own."""
    torch.manual_seed(0)
    layers = nn.Sequential(*[nn.Linear(WIDTH, WIDTH) for _ in range(6)])
    extra = nn.Linear(WIDTH, WIDTH)
    x = layers(torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(rank)))
    loss = (extra(x) if rank else x).square().mean()
    return layers, [*layers.parameters(), *extra.parameters()], loss


@ranks
def average(rank, folder):
    averaging.BUCKET = 250  # two layers
    results = {}
    for name in ("plain", "after", "during"):
        events = []
        layers, parameters, loss = a_network(rank)
        layers[0].weight.register_post_accumulate_grad_hook(lambda _, events=events: events.append("first layer"))
        with pytest.MonkeyPatch.context() as patch:
            traffic = Traffic(patch, events)
            if name == "plain":
                loss.backward()
                gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
                both = [torch.stack(gather_rows(g.reshape(-1, 1))).view(2, *g.shape) for g in (loss[None], *gradients)]
                values = [two.sum(dim=0) / 2 for two in both]
                values[0] = values[0].squeeze()
            else:
                mean = averaging.averaged_backward(loss.backward, parameters, loss, overlap=name == "during")
                values = [mean, *(p.grad for p in parameters)]
        results[name] = {"values": [value.detach() for value in values], "bytes": traffic.bytes, "calls": traffic.calls,
                         "peak": traffic.peak, "events": events}  # fmt: skip
    torch.save(results, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("averaged")
    assert forked(average, folder) == [0, 0]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_the_mean_has_the_bits_of_a_plain_sum_on_both_ranks(averaged):
    expected = averaged[0]["plain"]["values"]
    assert all(value.abs().max() > 0 for value in expected)
    for rank in range(2):
        for name in ("after", "during"):
            values = averaged[rank][name]["values"]
            assert all(torch.equal(a, b) for a, b in zip(values, expected, strict=True)), (rank, name)


def test_each_gradient_moves_once_and_two_buckets_are_copied_at_once(averaged):
    numbers = 7 * (WIDTH * WIDTH + WIDTH) + 1  # and the loss
    for rank in range(2):
        for name in ("after", "during"):
            seen = averaged[rank][name]
            assert (seen["bytes"], seen["calls"]) == (4 * numbers, 4)
            assert 4 * 110 < seen["peak"] <= 4 * 2 * 250 < 4 * numbers


def test_buckets_travel_while_the_backward_pass_computes(averaged):
    assert averaged[1]["after"]["events"] == ["first layer", *["sent"] * 4]
    assert averaged[1]["during"]["events"] == [*["sent"] * 3, "first layer", "sent"]
    # Rank 0 lacks a gradient of the first bucket: it sends all in the same order, but late.
    assert averaged[0]["during"]["events"] == ["first layer", *["sent"] * 4]


@ranks
def a_step(rank, folder):
    averaging.BUCKET = 5000
    counted = {}
    for official in (True, False):
        module = make_module(second_generator_forward=official)
        optimizers = module.configure_optimizers()
        with pytest.MonkeyPatch.context() as patch:
            traffic = Traffic(patch, [])
            logs, _ = module.step(a_batch(rank), *optimizers)
        networks = (module.generator, module.discriminator)
        statistics = [buffer for network in networks for buffer in averaging.statistics(network)]
        numbers = sum(tensor.numel() for network in networks for tensor in network.parameters())
        own = 2 + len(logs) + sum(tensor.numel() for tensor in statistics)  # losses, logged values, BatchNorm
        counted[str(official)] = [traffic.bytes, 4 * (numbers + own), traffic.peak, 4 * numbers]
    (folder / f"{rank}.json").write_text(json.dumps(counted))


def test_a_training_step_sends_every_gradient_once(tmp_path):
    assert forked(a_step, tmp_path) == [0, 0]
    for rank in range(2):
        for moved, expected, peak, gradients in json.loads((tmp_path / f"{rank}.json").read_text()).values():
            assert moved == expected
            assert peak <= gradients / 2  # and not a copy of all


@ranks
def twice(rank, folder):
    layers, _, loss = a_network(0)
    averaging.BUCKET = 1

    def backward():
        loss.backward(retain_graph=True)
        loss.backward()

    with pytest.raises(RuntimeError, match="twice"):
        averaging.averaged_backward(backward, list(layers.parameters()), loss)


def test_a_gradient_that_changes_after_it_was_sent_is_an_error(tmp_path):
    assert forked(twice, tmp_path, timeout=60) == [0, 0]


@ranks
def exchange(rank, folder):
    averaging.BUCKET = 10
    tensors = [torch.full(shape, float(rank + i)) for i, shape in enumerate(SIZES)]
    averaging.mean_over_ranks(tensors)
    features = torch.arange(6.0).reshape(3, 2) if rank else torch.empty(0, 0)
    torch.save((tensors, gather_rows(features)), folder / f"{rank}.pt")


def test_tensors_are_averaged_in_buckets_and_features_are_gathered(tmp_path):
    assert forked(exchange, tmp_path) == [0, 0]
    for rank in range(2):
        tensors, rows = torch.load(tmp_path / f"{rank}.pt")
        for i, shape in enumerate(SIZES):
            assert torch.equal(tensors[i], torch.full(shape, i + 0.5))
        assert rows[0].numel() == 0
        assert torch.equal(rows[1], torch.arange(6.0).reshape(3, 2))
