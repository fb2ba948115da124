"""Small modules, data and runs to train in tests."""

from functools import partial

import torch
from pytorch_lightning import Trainer

from lama.data import BuiltinPhotos, Distortions, InpaintingDataModule
from lama.evaluation import Evaluator
from lama.losses import FeatureMatchingLoss, MaskedL1Loss, NonSaturatingAdversarialLoss, Objective
from lama.masks import Boxes
from lama.models import FFCResNetGenerator, PatchDiscriminator
from lama.runs import find_run, train
from lama.training import InpaintingModule

BOXES = Boxes(margin=2, min_size=8, max_size=16, min_times=1, max_times=2)


def make_module(more_losses=None, **recipe):
    torch.manual_seed(0)
    objective = Objective(
        l1=MaskedL1Loss(), adversarial=NonSaturatingAdversarialLoss(), feature_matching=FeatureMatchingLoss(),
        **(more_losses or {}),
    )  # fmt: skip
    optimizers = {"generator": partial(torch.optim.Adam, lr=1e-3), "discriminator": partial(torch.optim.Adam, lr=1e-4)}
    evaluator = Evaluator(["psnr_hole", "ssim"])
    generator, discriminator = FFCResNetGenerator(ngf=4, n_blocks=1), PatchDiscriminator(ndf=4, n_layers=2)
    return InpaintingModule(generator, discriminator, objective, evaluator, optimizers, **recipe)


def make_data(**settings):
    settings = {"epoch_size": 4, "batch_size": 2, "val_path": "held_out", "val_size": 32, "num_workers": 0} | settings
    return InpaintingDataModule(BuiltinPhotos, "train", BOXES, Distortions(32), BOXES, **settings)


TRAINER = {"accelerator": "cpu", "max_epochs": 1, "num_sanity_val_steps": 0, "log_every_n_steps": 10,
           "enable_progress_bar": False, "enable_model_summary": False}  # fmt: skip


COMMAND = "python bin/train.py -cn demo"


def run_into(folder, module=None, resume=None, data=None, config="config: here\n", command=COMMAND, **settings):
    """Train as bin/train.py does; ``resume``, ``overwrite``, ``config`` and ``command`` have its meaning."""
    trainer = TRAINER | settings.pop("trainer", {})
    resume = find_run(folder, resume, settings.get("overwrite", False), config, command)
    return train(
        module or make_module(), data or make_data(), trainer, folder, config, command, resume=resume, **settings
    )


def fit(module, batches):
    """Train on given batches, without a run folder."""
    loader = torch.utils.data.DataLoader(batches, batch_size=None)
    Trainer(**TRAINER, logger=False, enable_checkpointing=False).fit(module, loader)
    return module


def a_batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(2, 1, 32, 32)
    mask[:, :, 8:20, 8:20] = 1
    return {"image": torch.rand(2, 3, 32, 32, generator=generator), "mask": mask}


def steps(module, batches, precision=torch.float32):
    """Train without a Trainer; returns the logs of the last step and the state dict after it."""
    optimizers = module.train().configure_optimizers()
    logs = {}
    for batch in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            logs, outcome = module.step(batch, *optimizers)
        assert not outcome.fault()
    return logs, module.state_dict()


def in_double(batch):
    return {name: value.double() for name, value in batch.items()}


def norms(network):
    return {name: p.detach().norm().item() for name, p in network.state_dict().items() if p.is_floating_point()}
