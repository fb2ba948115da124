"""A loaded model in other processes: pickled, copied, and after a fork."""

import copy
import multiprocessing
import pickle
import subprocess
import sys

import numpy as np
import pytest

import lama

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
HOLE = np.zeros(IMAGE.shape[:2], np.bool_)
HOLE[10:20, 12:30] = True
FORK = """
import multiprocessing, numpy as np, lama, torch
inpaint = lama.load("small", "cpu", detail="off", compiled=False)
assert torch.get_num_threads() == 2
image, hole = np.zeros((32, 32, 3), np.uint8), np.eye(32, dtype=bool)
def fill(_): return int(inpaint(image, hole).sum())
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.map_async(fill, [0]).get(60) == [fill(0)]
"""


@pytest.fixture(scope="module")
def used():
    """An inpainter that has built its fast equivalent, and its result."""
    inpaint = lama.load("small", "cpu", detail="off")
    return inpaint, inpaint(IMAGE, HOLE)


@pytest.mark.parametrize("make", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy, copy.copy])
def test_a_used_inpainter_can_be_pickled_and_copied(used, make):
    inpaint, result = used
    other = make(inpaint)
    np.testing.assert_array_equal(other(IMAGE, HOLE), result)
    assert other.generator.own_scale == 256


def _sum(arguments):
    inpaint, image, hole = arguments
    return int(inpaint(image, hole).sum())


@pytest.mark.slow
def test_a_spawned_pool_fills_images(used):
    inpaint, result = used
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_sum, [(inpaint, IMAGE, HOLE)] * 4) == [int(result.sum())] * 4


@pytest.mark.skipif(sys.platform != "linux", reason="OpenMP of GNU")
def test_loading_alone_leaves_the_process_fit_to_be_forked(root):
    environment = {
        "OMP_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "passive",
        "PYTHONPATH": str(root),
        "PATH": "/usr/bin:/bin",
    }
    subprocess.run([sys.executable, "-c", FORK], env=environment, check=True, timeout=100)
