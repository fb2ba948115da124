"""The fast equivalent of a trained generator: the same numbers, whole and in chunks, with and without a compiler."""

import copy
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from budget import within

from lama.fast import chunked, fused_ffc, fused_generator, native, winograd, winograd_kernel
from lama.fast.fuse import fuse
from lama.fast.winograd import WinogradConv
from lama.machine.allocator import tune_allocator
from lama.models import DilatedResNetGenerator, FFCResNetGenerator, ResNetGenerator
from lama.models.folding import Folded

NETWORKS = {
    "fourier": lambda: FFCResNetGenerator(ngf=4, n_blocks=2),
    "ratio 0.25": lambda: FFCResNetGenerator(ngf=4, n_blocks=1, ratio=0.25),
    "all global": lambda: FFCResNetGenerator(ngf=4, n_blocks=1, ratio=1.0),
    "none global": lambda: FFCResNetGenerator(ngf=4, n_blocks=1, ratio=0.01),
    "lfu": lambda: FFCResNetGenerator(ngf=8, n_blocks=1, enable_lfu=True),
    "2 downsamplings": lambda: FFCResNetGenerator(ngf=6, n_blocks=1, n_downsampling=2, max_features=20),
    "resize": lambda: FFCResNetGenerator(ngf=4, n_blocks=1, upsampling="resize"),
    "regular": lambda: ResNetGenerator(ngf=4, n_blocks=2),
    "dilated": lambda: DilatedResNetGenerator(ngf=4, n_blocks=1),
}


def trained(name):
    """Random weights; every BatchNorm with statistics and parameters that change something, and a lively output."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.uniform_(layer.bias, -0.3, 0.3)
    with torch.no_grad():
        network.train()(torch.rand(2, 4, 96, 96))
    return network.eval()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Kernels are built once for all tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAMA_CACHE", str(tmp_path_factory.mktemp("cache")))
        forget()
        yield
    forget()


def forget():
    for cached in (native.load, winograd_kernel.kernel):
        cached.cache_clear()


@pytest.fixture(params=list(NETWORKS), scope="module")
def pair(request, cache):
    network = trained(request.param)
    return network, fuse(network), fuse(network, compiled=False)


def sizes(network):
    m, least = network.pad_multiple, max(network.min_size, 64)
    odd = [] if network.config.get("enable_lfu") else [(1, least + 5, least + 11), (1, least + 1, least)]
    return [(1, least, least), (3, least + m, least + 2 * m), (1, least, 3 * least), (1, 3 * least, least), *odd]


@torch.no_grad()
def test_the_fused_network_gives_the_same_numbers(pair):
    network, *fused = pair
    for batch, height, width in sizes(network):
        x = torch.rand(batch, 4, height, width)
        expected = network(x)
        assert expected.std() > 0.02
        for other in fused:
            got = other(x)
            within("fused network", got, expected)


@torch.no_grad()
def test_large_images_are_computed_in_parts_to_the_same_numbers(pair, monkeypatch):
    x = torch.rand(2, 4, 80, 96)
    expected = pair[0](x)
    monkeypatch.setattr(fused_ffc, "GROUP", 1000)
    monkeypatch.setattr(winograd, "MOST_PIXELS_TO_KEEP", 0)
    for other in (fuse(pair[0]), *pair[1:]):
        within("fused network", other(x), expected)


@torch.no_grad()
def test_chunks_change_nothing(pair, monkeypatch):
    for pixels in (1, 1 << 12, 1 << 14):  # one row of the bottleneck at a time, a few, nearly all
        monkeypatch.setattr(fused_generator, "CHUNK_PIXELS", pixels)
        for fused in pair[1:]:
            for shape in sizes(pair[0]):
                x = torch.rand(shape[0], 4, *shape[1:])
                within("fused network, in chunks of rows", fused.forward_chunked(x), fused(x))


def test_a_convolution_reads_the_rows_it_needs():
    assert chunked.span_of(0, 4, kernel=7, stride=1, padding=3, size=10) == (0, 7, 3, 0)
    assert chunked.span_of(6, 10, kernel=7, stride=1, padding=3, size=10) == (3, 10, 0, 3)
    assert chunked.span_of(2, 4, kernel=3, stride=2, padding=1, size=8) == (3, 8, 0, 0)
    assert chunked.span_of(2, 4, kernel=3, stride=2, padding=1, size=7) == (3, 7, 0, 1)


@pytest.mark.parametrize("compiled", [True, False])
@torch.no_grad()
def test_bf16_reads_no_uninitialised_memory(pair, compiled):
    """oneDNN does in convolutions of stride 2 to a single column, and its output is random."""
    network = pair[0]
    fused = fuse(network, "bf16", compiled)
    for _ in range(5):
        x = torch.rand(1, 4, 80, 96)
        expected, exact = network(x), fuse(network, "fp32", compiled).encode(x, 80)
        for length in (100, 1000, 10_000, 100_000, 1_000_000):  # freed at once: the next tensors may get this memory
            torch.full((length,), torch.nan, dtype=torch.bfloat16)
        features = fused.encode(x, 80)
        for got, wanted in zip(*([f] if torch.is_tensor(f) else f for f in (features, exact)), strict=True):
            if got is not None:
                torch.testing.assert_close(got, wanted, atol=0.05 * float(wanted.abs().max()), rtol=0)
        within("fused network, bf16", fused(x), expected)


@pytest.mark.parametrize("compiled", [True, False])
@torch.no_grad()
def test_bf16_is_close(pair, compiled):
    network = pair[0]
    x = torch.rand(1, 4, 80, 96)
    difference = fuse(network, "bf16", compiled)(x) - network(x)
    assert difference.dtype == torch.float32
    assert -10 * difference.square().mean().log10() > 40


def test_the_contract_is_that_of_the_generator(pair):
    network, *fused = pair
    for other in fused:
        assert other.pad_multiple == network.pad_multiple
        assert other.min_size == network.min_size
        assert other.config == network.config
        assert not other.training


def test_the_generator_is_left_as_it_is_and_shares_nothing():
    network = trained("fourier")
    before = copy.deepcopy(network.state_dict())
    fused = fuse(network)
    x = torch.rand(1, 4, 64, 64)
    expected = fused(x)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    for parameter in network.parameters():
        parameter.data.zero_()
    assert torch.equal(fused(x), expected)


def test_there_are_no_gradients_and_the_input_is_not_written_to(pair):
    x = torch.rand(1, 4, 80, 80, requires_grad=True)
    before = x.detach().clone()
    for fused in pair[1:]:
        assert not fused(x).requires_grad
        assert not fused.forward_chunked(x).requires_grad
    assert torch.equal(x, before)


def test_unsupported_networks_are_refused():
    network = trained("fourier")
    with pytest.raises(ValueError, match="precision=fp16"):
        fuse(network, "fp16")
    with pytest.raises(ValueError, match=r"fuse: .*eval"):
        fuse(network.train())
    with pytest.raises(ValueError, match="Linear"):
        fuse(torch.nn.Linear(2, 2).eval())
    with pytest.raises(ValueError, match=r"expected \(B, 4, H, W\)"):
        fuse(network.eval())(torch.rand(1, 3, 64, 64))


@torch.no_grad()
def test_the_local_fourier_unit_still_needs_even_sizes():
    network = trained("lfu")
    for other in (network, fuse(network)):
        with pytest.raises(ValueError, match="even height and width"):
            other(torch.rand(1, 4, 72, 64))


@pytest.fixture
def kernel(cache):
    library = winograd_kernel.kernel()
    if library is None:
        pytest.skip("no C++ compiler here")
    return library


@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 4, 4), (1, 5, 7), (1, 2, 33), (3, 17, 3), (1, 12, 20)])
@pytest.mark.parametrize("channels", [(1, 1), (5, 3), (16, 48), (40, 0)])
@torch.no_grad()
def test_winograd_is_a_convolution_with_reflected_borders(kernel, shape, channels):
    torch.manual_seed(0)
    (batch, height, width), (c0, c1) = shape, channels

    def image(n):
        return torch.randn(batch, n, height, width).contiguous(memory_format=torch.channels_last)

    parts = [image(n) for n in channels if n]
    outs = [(c0, c0 + c1), (c1 or 7, c0)]  # an FFC: to local of everything, to global of the local channels
    convs = [Folded(torch.randn(o, i, 3, 3).double() / (9 * i) ** 0.5, torch.randn(o).double()) for o, i in outs]
    before, after = [None, image(outs[1][0])], [image(outs[0][0]), None]
    padded = F.pad(torch.cat(parts, 1).double(), (1, 1, 1, 1), mode="reflect")
    expected = [
        (F.conv2d(padded[:, :i], *conv) + (0 if b is None else b)).relu() + (0 if a is None else a)
        for (_, i), conv, b, a in zip(outs, convs, before, after, strict=True)
    ]
    got = WinogradConv(kernel, convs, relu=True)(parts, before, after)
    for mine, right in zip(got, expected, strict=True):
        assert (mine - right).abs().max() < 2e-5
    assert got[0].data_ptr() == after[0].data_ptr()


def test_few_tiles_at_a_time_and_several_threads_change_nothing(kernel, monkeypatch):
    conv = WinogradConv(kernel, [Folded(torch.randn(9, 6, 3, 3).double(), None)], relu=False)
    x = torch.randn(2, 6, 30, 26)
    expected = conv([x])[0]
    monkeypatch.setattr(winograd_kernel, "SCRATCH", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    torch.testing.assert_close(conv([x])[0], expected)


@pytest.mark.parametrize("trouble", ["no compiler", "broken compiler", "unwritable cache", "wrong kernel"])
def test_without_a_kernel_one_line_is_logged_and_the_numbers_are_the_same(trouble, monkeypatch, tmp_path, caplog):
    forget()
    monkeypatch.setenv("LAMA_CACHE", str(tmp_path / "cache"))
    if trouble == "no compiler":
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CXX", raising=False)
    elif trouble == "broken compiler":
        script = tmp_path / "c++"
        script.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "fatal error: nothing works" >&2\nexit 1\n')
        script.chmod(0o755)
        monkeypatch.setenv("CXX", str(script))
    elif trouble == "unwritable cache":
        (tmp_path / "cache").write_text("a file where a folder should be")
    else:
        monkeypatch.setattr(winograd_kernel.Kernel, "transform", lambda self, *weights: torch.zeros(36, 2, 24, 32))
    network, x = trained("fourier"), torch.rand(1, 4, 64, 72)
    with caplog.at_level(logging.WARNING, "lama"):
        fused = [fuse(network), fuse(network)]
    monkeypatch.undo()
    lines = [record.message for record in caplog.records]
    assert len(lines) == 1, lines
    assert "computing without it" in lines[0]
    assert "\n" not in lines[0]
    assert all((other(x) - network(x)).abs().max() < 1e-5 for other in fused)
    assert not list(tmp_path.glob("cache/**/.*")), "half a build was left"
    forget()


@pytest.mark.slow
def test_processes_may_build_at_once(kernel, tmp_path, monkeypatch):
    monkeypatch.setenv("LAMA_CACHE", str(tmp_path))
    code = "from lama.fast import winograd_kernel; assert winograd_kernel.kernel() is not None"
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: subprocess.run([sys.executable, "-c", code], capture_output=True), range(2)))
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr.decode()
    assert len(list((tmp_path / "kernels").iterdir())) == 1


def test_another_cpu_or_source_is_another_kernel(kernel, tmp_path, monkeypatch):
    monkeypatch.setenv("LAMA_CACHE", str(tmp_path))
    source = tmp_path / "trivial.cpp"
    names = set()
    for content, cpu in (("int a;", "one"), ("int a;", "other"), ("int b;", "one"), ("int a;", "one")):
        source.write_text(content)
        monkeypatch.setattr(native, "cpu", lambda cpu=cpu: cpu)
        names.add(native.build(source))
    assert len(names) == 3


def test_the_allocator_is_tuned_for_small_images_only():
    code = (
        "import os, torch, lama.fast.fuse; from lama.machine.allocator import tune_allocator as t\n"
        "print(t(2048 * 2048), os.environ.get('THP_MEM_ALLOC_ENABLE'), t(512 * 512), torch.zeros(1 << 22).sum().item())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split()[:2] == ["False", "None"]
    assert done.stdout.split()[2] == str(sys.platform.startswith("linux"))


def test_elsewhere_than_on_linux_the_allocator_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not tune_allocator(1)


@pytest.mark.slow
def test_the_benchmark_compares_every_variant_with_the_trained_module(cache):
    from lama.bench import bench_predict

    lines = bench_predict(
        "--sizes", "64", "--rounds", "1", "--ngf", "4", "--n-blocks", "1", "--variants", "bf16 compiled"
    )
    assert len(lines) == 3
    assert "trained" in lines[1]
    assert "times as fast" in lines[2]
    assert "PSNR" in lines[2]
