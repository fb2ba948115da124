"""Benchmarks: ratios of alternated runs, each compared with a plain implementation of the same."""

from lama.bench.cold import bench_cold
from lama.bench.data import bench_data
from lama.bench.detail import bench_detail
from lama.bench.fid import bench_fid
from lama.bench.masks import bench_masks
from lama.bench.precision import bench_precision
from lama.bench.predict import bench_hole, bench_predict
from lama.bench.runtimes import bench_runtimes
from lama.bench.timing import alternate
from lama.bench.train import bench_train

__all__ = [
    "alternate",
    "bench_cold",
    "bench_data",
    "bench_detail",
    "bench_fid",
    "bench_hole",
    "bench_masks",
    "bench_precision",
    "bench_predict",
    "bench_runtimes",
    "bench_train",
]
