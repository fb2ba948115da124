"""A sample is a function of (seed, epoch, index): workers, processes and resuming change no byte."""

import json

import numpy as np
import pytest
from processes import two_processes
from torch.utils.data import DataLoader

from lama.data import Distortions
from lama.data.cache import DecodedCache
from lama.data.datasets import TrainingDataset
from lama.data.sampler import EpochSampler
from lama.masks import Boxes, Growing, Mixture, Strokes

EPOCHS = 3
BATCH = 4  # over all processes


class Images:
    """Noise of different sizes, one of them broken."""

    names = tuple(f"noise{i}" for i in range(9))

    def __len__(self):
        return 9

    def __getitem__(self, index):
        if index == 5:
            raise ValueError("noise5: not a readable image")
        image = np.random.default_rng(index).integers(0, 256, (30 + 7 * index, 80 - 6 * index, 3), dtype=np.uint8)
        return self.names[index], image


def growing():
    kinds = {"strokes": Strokes(max_len=20, max_width=10, min_times=1, max_times=4), "boxes": Boxes(2, 3, 20, 1, 3)}
    return Growing(Mixture(kinds, {"strokes": 1, "boxes": 1}), samples=30)


def dataset(cached=True, seed=3):
    source = DecodedCache(Images(), 0.001) if cached else Images()
    return TrainingDataset(source, Distortions(32), growing(), seed, max_broken=0.2)


def loader(data, batch, workers=0, size=16):
    context = "fork" if workers else None
    sampler = EpochSampler(9, size, seed=3)
    return DataLoader(data, batch, sampler=sampler, num_workers=workers, multiprocessing_context=context,
                      persistent_workers=workers > 0)  # fmt: skip


def samples(batch):
    """The bytes of each sample of a batch."""
    return [(i.numpy().tobytes(), m.numpy().tobytes()) for i, m in zip(batch["image"], batch["mask"], strict=True)]


def run(batches, first=0, last=EPOCHS):
    """Epochs ``first`` .. ``last`` - 1 of a training, as lists of lists of samples."""
    steps = []
    for epoch in range(first, last):
        batches.sampler.set_epoch(epoch)
        steps += [samples(batch) for batch in batches]
    return steps


@pytest.fixture(scope="module")
def expected():
    """An uninterrupted run in one process, without workers or cache."""
    steps = run(loader(dataset(cached=False), BATCH))
    assert len(steps) == EPOCHS * 4
    assert len({sample for step in steps for sample in step}) == EPOCHS * 16
    return steps


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("workers", [0, 1, 2, 4])
def test_batches_are_the_same_for_any_number_of_workers(expected, workers, cached):
    assert run(loader(dataset(cached), BATCH, workers)) == expected


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_resumed_run_equals_an_uninterrupted_one(expected, epoch, workers):
    assert run(loader(dataset(), BATCH, workers), epoch) == expected[4 * epoch :]


def test_epochs_of_another_length_cut_the_same_stream(expected):
    flat = [sample for step in expected for sample in step]
    again = [sample for step in run(loader(dataset(), BATCH, size=12), 0, 4) for sample in step]
    assert again == flat


def test_another_seed_is_another_run(expected):
    flat = {sample for step in expected for sample in step}
    again = {sample for step in run(loader(dataset(seed=4), BATCH)) for sample in step}
    assert not flat & again


def test_masks_grow_with_the_position_in_the_training_whatever_the_epoch():
    data = dataset()
    areas = {}
    for position in (0, 15, 30, 300):
        areas[position] = np.mean([data[0, index, position]["mask"].mean() for index in range(9)])
    assert areas[0] < areas[15] < areas[30] == areas[300]


def process(rank, world, folder):
    """One of several processes of a training: writes its samples of each step."""
    import hashlib

    import torch.distributed

    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=world)
    steps = run(loader(dataset(), BATCH // world, workers=rank))  # the second process has a worker, on purpose
    hashes = [[hashlib.sha256(image + mask).hexdigest() for image, mask in step] for step in steps]
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(hashes, file)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_processes_share_the_batches_of_one(expected, tmp_path, root):
    import hashlib

    ranks = two_processes("test_randomness", tmp_path, root)
    hashes = [[hashlib.sha256(image + mask).hexdigest() for image, mask in step] for step in expected]
    assert len(ranks[0]) == len(ranks[1]) == len(hashes)
    for first, second, together in zip(*ranks, hashes, strict=True):
        assert len(first) == len(second) == BATCH // 2
        assert sorted(first + second) == sorted(together)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_of_an_epoch_that_does_not_divide_stay_in_step(monkeypatch, world):
    shares = []
    for rank in range(world):
        monkeypatch.setattr("lama.data.sampler.rank_and_world", lambda rank=rank: (rank, world))
        steps = run(loader(dataset(), 1, size=7), 1, 2)
        shares.append([sample for step in steps for sample in step])
    assert len({len(share) for share in shares}) == 1
    monkeypatch.undo()
    whole = [sample for step in run(loader(dataset(), 1, size=7), 1, 2) for sample in step]
    assert sorted(sample for share in shares for sample in share) == sorted(whole[: 7 // world * world])
