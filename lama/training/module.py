"""One training step of LaMa: the generator, then the discriminator, each with its own optimiser.

Paper, section 2.3; the order of operations is that of the official code under Lightning 1.2, as manual optimisation.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lama.conventions import composite, generator_input, pad_to_multiple
from lama.evaluation import Evaluator
from lama.interfaces import StepContext
from lama.losses import Objective
from lama.training.averaging import NETWORKS, average, average_gradients, statistics, synchronise_batchnorm
from lama.training.faults import NonFiniteError, Undo, check_finite

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


class InpaintingModule(LightningModule):
    """Generator, discriminator, objective, and how they are trained; names no loss.

    Batches are {"image": (B, 3, H, W) in [0, 1], "mask": (B, 1, H, W), 1 = hole}. Progress is counted in batches by
    ``iteration`` (Lightning's ``global_step`` counts both optimisers). The objective's frozen networks are in no
    checkpoint.
    """

    iteration: Tensor

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        objective: Objective,
        evaluator: Evaluator,  # scores the validation set
        optimizers: dict[str, MakeOptimizer],  # "generator" and "discriminator"
        second_generator_forward: bool = True,  # the discriminator sees a fresh fake of the updated generator, as
        # published; False: the generator step's fake again, which saves a forward pass
        clip_norm: float = 1.0,  # global gradient norm of each optimiser
        cosine_lr: bool = False,  # let both learning rates fall to 0 over the run, along half a cosine
        ema_decay: float | None = None,  # average the generator's weights and validate with them; None = do not
        validate_raw: bool = False,  # where weights are averaged, validate those of the last step too
        sync_batchnorm: str | None = None,  # of "generator" or "both": BatchNorm sees the batch of all GPUs
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = generator
        self.discriminator = discriminator
        self.objective = objective
        self.evaluator = evaluator
        self.make_optimizers = optimizers
        self.second_generator_forward = second_generator_forward
        self.clip_norm = clip_norm
        self.cosine_lr = cosine_lr
        self.sync_batchnorm = sync_batchnorm
        if sync_batchnorm not in NETWORKS:
            raise ValueError(f"recipe.sync_batchnorm: expected generator, both or null, got {sync_batchnorm!r}")
        if sync_batchnorm == "both" and objective.differentiates_twice:
            raise ValueError(
                "recipe.sync_batchnorm=both: R1 differentiates the discriminator twice, which PyTorch's SyncBatchNorm "
                "cannot do; use recipe.sync_batchnorm=generator, or losses.adversarial.gp_coef=0"
            )
        self.average: AveragedModel | None = None
        if ema_decay is not None:
            if not 0 < ema_decay < 1:
                raise ValueError(f"recipe.ema_decay: expected a number between 0 and 1, or null, got {ema_decay}")
            self.average = AveragedModel(
                generator, multi_avg_fn=get_ema_multi_avg_fn(ema_decay), use_buffers=True
            ).requires_grad_(False)
        self.raw_evaluator: Evaluator | None = None
        if validate_raw and self.average is not None:
            self.raw_evaluator = copy.copy(evaluator)  # the same networks of metrics, other pictures
            self.raw_evaluator.reset()
        self.register_buffer("iteration", torch.zeros((), dtype=torch.long))
        self._before = Undo([generator, discriminator], generator if second_generator_forward else None)

    def setup(self, stage: str) -> None:
        """Called when all processes have been started."""
        if self.sync_batchnorm is not None and self.trainer.world_size > 1:
            networks = [self.generator] + [self.discriminator] * (self.sync_batchnorm == "both")
            synchronise_batchnorm(networks, self.trainer.strategy.root_device)

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        optimizers = [
            self.make_optimizers["generator"](self.generator.parameters()),
            self.make_optimizers["discriminator"](self.discriminator.parameters()),
        ]
        if not self.cosine_lr:
            return optimizers, []
        total = int(self.trainer.estimated_stepping_batches)
        return optimizers, [
            LambdaLR(optimizer, lambda i: 0.5 * (1 + math.cos(math.pi * min(1, i / total)))) for optimizer in optimizers
        ]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, str]:
        """Train on one batch, or skip it and say why in ``fault``: all but the counters is as it was, bit for bit."""
        optimizers = self.optimizers()
        self._before.remember(optimizers[0])  # type: ignore[index]
        logs: dict[str, Tensor] = {}
        fault = {}
        try:
            logs = self.step(batch, *optimizers, backward=self.manual_backward)  # type: ignore[misc]
        except NonFiniteError as error:
            self._before.undo(optimizers[0])  # type: ignore[index]
            fault = {"fault": str(error)}
        for scheduler in self.lr_schedulers() or []:  # type: ignore[union-attr]
            scheduler.step()  # type: ignore[union-attr, call-arg]
        self.iteration += 1
        self.log_dict({f"train_{name}": value for name, value in logs.items()})
        # "step" is what Lightning's loggers take for the x-axis.
        self.log("step", self.iteration.float())
        return fault

    def step(
        self,
        batch: dict[str, Tensor],
        generator_optimizer: Any,
        discriminator_optimizer: Any,
        backward: Callable[[Tensor], None] = torch.Tensor.backward,
    ) -> dict[str, Tensor]:
        """Train both networks on one batch; returns what there is to log. Needs no Trainer.

        Raises NonFiniteError before the update that a loss or a gradient norm is not fit for.
        """
        predicted, logs = self._generator_gradients(batch, generator_optimizer, backward)
        if self.second_generator_forward:
            generator_optimizer.step()
            with torch.no_grad():
                predicted = self.generator(generator_input(batch["image"], batch["mask"]))
        logs |= self._discriminator_gradients(batch, predicted.detach(), discriminator_optimizer, backward)
        if not self.second_generator_forward:  # both are known to be finite now: nothing to undo
            generator_optimizer.step()
        if "discr_grad_norm" in logs:
            discriminator_optimizer.step()
        average([*logs.values(), *statistics(self.generator), *statistics(self.discriminator)])
        if self.average is not None:
            self.average.update_parameters(self.generator)
        return logs

    def _generator_gradients(
        self, batch: dict[str, Tensor], optimizer: Any, backward: Callable[[Tensor], None]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        image, mask = batch["image"], batch["mask"]
        self.discriminator.requires_grad_(False)
        predicted = self.generator(generator_input(image, mask))
        real_logits, real_features = self.discriminator(image)
        fake_logits, fake_features = self.discriminator(predicted)
        context = StepContext(image, mask, predicted, real_logits, fake_logits, real_features, fake_features)
        loss, logs = self.objective.generator_loss(context)
        logs["gen_grad_norm"] = self._gradients(loss, optimizer, "generator", backward)
        self.discriminator.requires_grad_(True)
        return predicted, logs | {"gen_total": loss.detach()}

    def _discriminator_gradients(
        self, batch: dict[str, Tensor], fake: Tensor, optimizer: Any, backward: Callable[[Tensor], None]
    ) -> dict[str, Tensor]:
        image = batch["image"].detach().requires_grad_()  # R1 differentiates with respect to the image
        real_logits, real_features = self.discriminator(image)
        fake_logits, fake_features = self.discriminator(fake)
        context = StepContext(image, batch["mask"], fake, real_logits, fake_logits, real_features, fake_features)
        loss, logs = self.objective.discriminator_loss(context)
        if loss.requires_grad:  # an objective without an adversarial term trains no discriminator
            logs["discr_grad_norm"] = self._gradients(loss, optimizer, "discriminator", backward)
        return logs

    def _gradients(self, loss: Tensor, optimizer: Any, name: str, backward: Callable[[Tensor], None]) -> Tensor:
        """Backward, the mean over all processes, and clip; returns the gradient norm before clipping."""
        optimizer.zero_grad()
        backward(loss)
        parameters = list(getattr(self, name).parameters())
        loss = average_gradients(parameters, loss)
        norm = clip_grad_norm_(parameters, self.clip_norm)
        check_finite(name, loss, norm)
        return norm

    @property
    def inference_generator(self) -> nn.Module:
        """The network a user gets: the average where there is one, else the generator itself."""
        return self.generator if self.average is None else self.average.module

    def complete(self, image: Tensor, mask: Tensor, network: nn.Module | None = None) -> tuple[Tensor, Tensor]:
        """Raw and composited output of a generator, the one for inference, for pictures of any size: (B, 3, H, W)."""
        network = network or self.inference_generator
        height, width = image.shape[-2:]
        x = generator_input(image, mask)
        x = pad_to_multiple(x, int(network.pad_multiple), int(network.min_size))  # type: ignore[arg-type]
        predicted = network(x)[..., :height, :width]
        return predicted, composite(predicted, image, mask)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        networks = ((self.evaluator, self.inference_generator), (self.raw_evaluator, self.generator))
        for evaluator, network in networks:
            if evaluator is not None:
                _, completed = self.complete(batch["image"], batch["mask"], network)
                evaluator.update(list(batch["name"]), completed, batch["image"], batch["mask"])

    def on_validation_epoch_end(self) -> None:
        self.evaluator.gather()  # every process has seen its share of the pictures, and logs the same numbers
        groups = self.evaluator.compute_groups() | {"total": self.evaluator.compute()}
        self.evaluator.reset()
        self.log_dict(dict(_logged(groups)))
        if self.raw_evaluator is not None:
            self.raw_evaluator.gather()
            self.log_dict(dict(_logged({"total": self.raw_evaluator.compute()}, "val_raw")))
            self.raw_evaluator.reset()
        self.log("step", self.iteration.float())


def _logged(groups: dict[str, dict[str, Any]], prefix: str = "val") -> Iterator[tuple[str, float]]:
    """The official names, ``val_ssim_total_mean``, ``val_fid_10-20%_mean``, ``val_lpips_vgg_total_std``."""
    for group, results in groups.items():
        for metric, result in results.items():
            for statistic in ("mean", "std"):
                if result.get(statistic) is not None:
                    yield f"{prefix}_{metric}_{group}_{statistic}", result[statistic]
