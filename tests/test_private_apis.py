"""The private or undocumented parts of other packages that we use; after an upgrade, a failure names a missing one."""

import ast
import inspect
import mmap
import os
import re
import signal
from pathlib import Path

import hydra
import pytest
import pytorch_fid.inception
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from pytorch_lightning.utilities import rank_zero_only
from torch import distributed

from lama.runs.processes import DEAD_WORKER, LOST_RANK


@pytest.fixture
def fit_loop():
    return Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu").fit_loop


@pytest.mark.parametrize(
    ("state", "trackers"),
    [
        ("epoch_progress", {"total", "current"}),
        ("epoch_loop.batch_progress", {"total", "current", "is_last_batch"}),
        ("epoch_loop.val_loop.batch_progress", {"total", "current"}),
        ("epoch_loop.manual_optimization.optim_step_progress", {"total", "current"}),
        ("epoch_loop.state_dict", {"_batches_that_stepped"}),
    ],
)
def test_lightning_state_of_the_fit_loop(fit_loop, state, trackers):
    """Read and written by lama/runs/progress.py."""
    found = fit_loop.state_dict()
    assert state in found
    assert trackers <= found[state].keys(), state
    for tracker in trackers & {"total", "current"}:
        known = {"ready", "started", "processed", "completed"}  # progress.py treats any other as a finished one
        assert {"ready", "completed"} <= found[state][tracker].keys() <= known, (state, tracker)


def test_lightning_progress_attributes(fit_loop):
    """Read by ``progress_of``."""
    assert {"started", "processed"} <= vars(fit_loop.epoch_progress.current).keys()
    assert hasattr(fit_loop.epoch_loop.batch_progress, "is_last_batch")
    assert hasattr(fit_loop, "_data_fetcher")
    assert list(inspect.signature(_TrainingEpochLoop._should_check_val_fx).parameters) == ["self", "data_fetcher"]
    assert isinstance(fit_loop.batch_idx, int)


def test_lightning_tensorboard_keeps_the_options_of_its_next_file(tmp_path):
    """``loggers.TensorBoard`` begins a new file, without ``purge_step``, after a disk error."""
    logger = TensorBoardLogger(str(tmp_path), purge_step=3)
    assert logger._kwargs == {"purge_step": 3}
    first = logger.experiment
    logger._experiment = None
    assert logger.experiment is not first


def test_lightning_restores_callbacks_by_the_name_of_their_class():
    """``checkpointing.RENAMED`` maps the names of earlier versions."""
    from lama.runs import NonFiniteGuard

    assert NonFiniteGuard().state_key == "NonFiniteGuard"


def test_lightning_launcher_lists_the_processes_that_it_has_started():
    """``RankWatcher`` takes the list over, to end them with a message."""
    launcher = _SubprocessScriptLauncher(None, num_processes=2, num_nodes=1)
    assert launcher.procs == []


def test_lightning_rank_zero_only_has_a_rank_that_can_be_set():
    """``choose_processes`` puts it back after it has made a Trainer to ask."""
    before = rank_zero_only.rank
    rank_zero_only.rank = before
    assert isinstance(before, int)


def test_lightning_strategy_hook():
    """``AveragedGradients`` overrides it and wraps nothing."""
    from pytorch_lightning.strategies import DDPStrategy

    assert "self.configure_ddp()" in inspect.getsource(DDPStrategy.setup)
    assert hasattr(LightningModule, "manual_backward")


def test_torch_foreach_copy():
    """Used by the step snapshot, the averages over ranks and recomputed blocks."""
    live, kept = [torch.zeros(2)], [torch.ones(2)]
    torch._foreach_copy_(live, kept)
    assert torch.equal(live[0], kept[0])


@pytest.mark.parametrize(
    ("operator", "overload"),
    [
        ("_convolution_pointwise", "default"),
        ("_convolution_pointwise", "binary"),
        ("_convolution_pointwise_", "binary"),
    ],
)
def test_torch_fused_convolutions_of_onednn(operator, overload):
    """Used by lama/fast/onednn.py, which does without them where they are missing; that is slower."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch is built without oneDNN")
    assert overload in getattr(torch.ops.mkldnn, operator).overloads()


def test_torch_compiled_module_flag():
    """``InpaintingModule.configure_model`` compiles once."""
    assert torch.nn.Linear(1, 1)._compiled_call_impl is None


def test_torch_aten_reflection_pad_backward():
    """Used by lama/fast/trained_winograd.py."""
    x = torch.zeros(1, 1, 4, 4)
    assert torch.ops.aten.reflection_pad2d_backward(torch.ones(1, 1, 6, 6), x, [1, 1, 1, 1]).sum() == 36


def test_torch_averaged_model_and_foreach_lerp():
    """``MovingAverage`` updates the parts of the first by the second, with a weight on the device."""
    average = torch.optim.swa_utils.AveragedModel(torch.nn.Linear(1, 1), use_buffers=True)
    assert set(average.state_dict()) == {"n_averaged", "module.weight", "module.bias"}
    live = [torch.zeros(2), torch.zeros(3)]
    torch._foreach_lerp_(live, [torch.ones(2), torch.ones(3)], [torch.tensor(0.25)] * 2)
    assert torch.equal(torch.cat(live), torch.full((5,), 0.25))


def test_torch_fused_adam_skips_a_step():
    """``StepGuard`` sets ``found_inf`` as ``torch.amp.GradScaler`` does."""
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.full((2,), float("nan"))
    for kind in (torch.optim.Adam, torch.optim.AdamW):
        optimizer = kind([weight], fused=True)
        optimizer.found_inf = torch.ones(())
        optimizer.step()
        assert weight.tolist() == [1, 1]
        assert all(not value.any() for value in optimizer.state[weight].values())


def test_torch_asks_which_devices_have_fused_optimisers():
    """``fused_optimizers`` adds the meta device."""
    import sys

    from torch.utils._foreach_utils import _get_fused_kernels_supported_devices

    assert "cuda" in _get_fused_kernels_supported_devices()
    assert hasattr(sys.modules[torch.optim.Optimizer.__module__], "_get_fused_kernels_supported_devices")


class Deadly(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


def test_torch_message_about_a_dead_worker():
    """``dead_workers_explained`` reads the process number from it."""
    with pytest.raises(RuntimeError) as error:
        next(iter(torch.utils.data.DataLoader(Deadly(), num_workers=1)))
    assert re.search(DEAD_WORKER, str(error.value))


def test_torch_message_about_a_lost_rank():
    """``ended_together`` recognises a lost rank by it; the messages of gloo are in its library."""
    library = Path(torch.__file__).parent / "lib/libtorch_cpu.so"
    if not library.is_file() or not distributed.is_gloo_available():
        pytest.skip("no gloo in a library of this name")
    assert re.search(LOST_RANK, "Connection closed by peer")
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        assert content.find(b"Connection closed by peer") >= 0


def test_pytorch_fid_downloads_by_a_name_in_its_module():
    """lama/evaluation/inception.py replaces it, since the package takes no path."""
    source = inspect.getsource(pytorch_fid.inception)
    assert callable(pytorch_fid.inception.load_state_dict_from_url)
    assert "load_state_dict_from_url(FID_WEIGHTS_URL" in source


def test_submitit_parameters_and_handler():
    """lama/sweeps/launch.py sets the first; the handler calls ``checkpoint`` of the submitted object."""
    submitit = pytest.importorskip("submitit")
    from submitit.core.job_environment import SignalHandler

    known = submitit.AutoExecutor._typed_parameters() if hasattr(submitit.AutoExecutor, "_typed_parameters") else {}
    shared = {"name", "nodes", "tasks_per_node", "gpus_per_node", "cpus_per_task", "mem_gb", "timeout_min"}
    assert shared <= known.keys()
    slurm = submitit.SlurmExecutor._valid_parameters()
    assert {"partition", "signal_delay_s", "array_parallelism", "additional_parameters"} <= slurm
    assert "checkpoint" in inspect.getsource(SignalHandler.checkpoint_and_try_requeue)


def test_hydra_messages_that_config_rewords():
    """lama/config.py finds the key in the message of this error."""
    from hydra.errors import ConfigCompositionException

    with (
        hydra.initialize_config_dir(str(Path(__file__).parent), version_base="1.3"),
        pytest.raises(ConfigCompositionException, match=r"Could not override 'nothing'"),
    ):
        hydra.compose(overrides=["nothing=1"])


def test_torch_profiler_times():
    """lama/runs/debug.py sorts the profile by them."""
    with torch.profiler.profile() as profile:
        torch.ones(2) + 1
    event = profile.key_averages()[0]
    assert {"self_cpu_time_total", "self_device_time_total"} <= set(dir(event))


def test_lpips_names_of_its_backbone():
    """lama/lpips_network.py fills ``net.slice<n>.<i>`` from torchvision's ``features.<i>``."""
    import lpips

    names = lpips.LPIPS(net="squeeze", pnet_rand=True, pretrained=False, verbose=False).net.state_dict()
    assert "slice1.0.weight" in names


def test_submitit_writes_the_number_of_a_job_of_an_array():
    """lama/sweeps/state.py looks for it in the output of squeue."""
    submitit = pytest.importorskip("submitit")
    assert submitit.SlurmJob("unused", job_id="12_3").job_id == "12_3"


def test_every_private_name_of_another_package_is_tested_here(root):
    """A private attribute or module that ``lama`` does not define itself is named in a test of this file."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (root / "lama").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    own |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            used |= {part for module in modules for part in module.split(".")}
    private = {name for name in used - own if re.match(r"_[a-z]", name)} - {"_exit", "_target_"}  # os._exit is public
    assert "_foreach_copy_" in private
    text = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in sorted(private) if name not in text.replace(f"{name!r} in private", "")] == []


def test_torch_parts_of_a_rehearsal():
    """Used by lama/machine/rehearsal.py."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from torch.utils.flop_counter import flop_registry

    assert hasattr(TorchDispatchMode, "__torch_dispatch__")
    assert tree_leaves(((1, [2]), {"a": 3})) == [1, 2, 3]
    assert {torch.ops.aten.convolution, torch.ops.aten.convolution_backward, torch.ops.aten.mm} <= flop_registry.keys()
    assert torch.ops.aten._local_scalar_dense.default
    assert torch.ops.aten._to_copy.default
    tensor = torch.ones(2, device="meta")
    assert tensor.untyped_storage()._cdata == tensor[:1].untyped_storage()._cdata
