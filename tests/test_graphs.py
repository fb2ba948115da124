"""CUDA graphs for prediction, with a recorder that needs no GPU."""

import copy
import logging

import pytest
import torch

from lama.fast.graphs import Graphed, with_graphs
from lama.inference import Inpainter
from lama.models import FFCResNetGenerator


class Recorder:
    """Records as CUDA does: what it replays is the network at the time of the recording."""

    def __init__(self, change=lambda made: made):
        self.recorded, self.replayed, self.change = [], [], change

    def __call__(self, network, x):
        self.recorded.append(tuple(x.shape))
        kept = copy.deepcopy(network)

        def replay(x):
            self.replayed.append(tuple(x.shape))
            return self.change(kept(x))

        return replay


def graphed(recorder, **options):
    torch.manual_seed(0)
    return Graphed(torch.nn.Conv2d(4, 3, 3), recorder=recorder, **options)


def test_a_shape_is_recorded_when_it_comes_again_and_replayed_from_then_on():
    recorder = Recorder()
    network = graphed(recorder)
    x, other = torch.rand(1, 4, 8, 8), torch.rand(1, 4, 9, 8)
    results = [network(x) for _ in range(4)]
    network(other)
    assert recorder.recorded == [(1, 4, 8, 8)]
    assert len(recorder.replayed) == 2 + 2  # two to check it
    assert all(torch.equal(result, network.network(x)) for result in results)
    assert torch.equal(network(2 * x), network.network(2 * x))


@pytest.mark.parametrize(("change", "why"), [(lambda made: made + 1e-3, "differs"), (None, "while capturing")])
def test_a_recording_that_fails_or_differs_is_not_used(change, why, caplog):
    def fails(made):
        raise RuntimeError("operation not permitted while capturing\nmore")

    recorder = Recorder(change or fails)
    network, x = graphed(recorder), torch.rand(1, 4, 8, 8)
    for _ in range(4):
        assert torch.equal(network(x), network.network(x))
    assert len(recorder.recorded) == 1
    (line,) = [one.getMessage() for one in caplog.records]
    assert "1x4x8x8" in line
    assert why in line
    assert "more" not in line


def test_the_recording_that_was_used_least_recently_makes_room():
    recorder = Recorder()
    network = graphed(recorder, most=2)
    shapes = [torch.rand(1, 4, 8, 8 + i) for i in range(3)]
    for x in (shapes[0], shapes[1], shapes[0], shapes[1], shapes[0], shapes[2], shapes[2], shapes[1]):
        network(x)
    assert [shape[3] for shape in recorder.recorded] == [8, 9, 10, 9]


def test_without_a_gpu_one_line_says_so_and_the_result_is_the_same(caplog):
    torch.manual_seed(0)
    generator = FFCResNetGenerator(ngf=4, n_blocks=1)
    image = (torch.rand(64, 64, 3) * 255).byte().numpy()
    mask = torch.zeros(64, 64, dtype=torch.bool).numpy()
    mask[20:40, 20:40] = True
    expected = Inpainter(generator, "cpu")(image, mask)
    with caplog.at_level(logging.INFO):
        assert (Inpainter(generator, "cpu", graphs=True)(image, mask) == expected).all()
    assert caplog.text.count("graphs=true") == 1


def test_a_gpu_gets_recordings():
    network = torch.nn.Conv2d(4, 3, 3)
    assert isinstance(with_graphs(network, torch.device("cuda")), Graphed)
    assert with_graphs(network, torch.device("cpu")) is network
