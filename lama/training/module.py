"""One training step of LaMa: the generator, then the discriminator, each with its own optimiser.

Paper, section 2.3; the order of operations is that of the official code under Lightning 1.2, as manual optimisation.
"""

import copy
import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from lama.conventions import at_least_float32, complete, generator_input
from lama.evaluation import Evaluator
from lama.fast.columns import use_columns
from lama.fast.trained_winograd import use_winograd
from lama.interfaces import StepContext
from lama.losses import Objective
from lama.losses.frozen import Frozen
from lama.training.averaging import NETWORKS, average, average_gradients, statistics, synchronise_batchnorm
from lama.training.compiled import compile_generator
from lama.training.judged import Judged
from lama.training.learning_rates import NAMES, LearningRates
from lama.training.moving_average import moving_average
from lama.training.non_finite import NonFiniteError, StepSnapshot, check_finite
from lama.training.recompute import recompute_blocks as recompute

logger = logging.getLogger(__name__)

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
        accumulate: int = 1,  # batches whose gradients are averaged for one update of both networks; BatchNorm and R1
        # see each batch by itself, so that it is not the same as one large batch
        recompute_blocks: bool = False,  # keep no activations inside the generator's blocks: less memory, more time
        compiled: bool = False,  # torch.compile for the generator; minutes at the start
        winograd: bool = False,  # on a CPU: 3 x 3 convolutions by compiled code of ours (float32), the 7 x 7 by columns
    ) -> None:
        super().__init__()
        if clip_norm <= 0:
            raise ValueError(f"recipe.clip_norm: expected more than 0, inf for no clipping, got {clip_norm}")
        if accumulate < 1:
            raise ValueError(f"recipe.accumulate: expected at least 1, got {accumulate}")
        if accumulate > 1 and second_generator_forward:
            raise ValueError(
                f"recipe.accumulate={accumulate}: the discriminator cannot wait for the updated generator; set "
                "recipe.second_generator_forward=false"
            )
        if compiled and recompute_blocks:
            raise ValueError("recipe.compiled=true: compiled blocks are not recomputed; set one of the two to false")
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
        self.accumulate = accumulate
        self.accumulated = 0  # batches whose gradients wait for the update
        self.compiled = compiled
        self.average: AveragedModel | None = None
        if ema_decay is not None:
            self.average = moving_average(generator, ema_decay)
        self.raw_evaluator: Evaluator | None = None
        if validate_raw and self.average is not None:
            self.raw_evaluator = copy.copy(evaluator)  # the same networks of metrics, other images
            self.raw_evaluator.reset()
        if recompute_blocks:
            recompute(generator)
        if winograd and not compiled:  # torch.compile does not see through it
            use_columns(generator)
            use_winograd(generator, *(loss.network for loss in objective.modules() if isinstance(loss, Frozen)))
        self.use_memory_format(torch.channels_last)  # what convolutions compute in; a checkpoint's numbers are the same
        self.register_buffer("iteration", torch.zeros((), dtype=torch.long))
        self._before = StepSnapshot([generator, discriminator])

    def setup(self, stage: str) -> None:
        """Called when all processes have been started."""
        if self.sync_batchnorm is not None and self.trainer.world_size > 1:
            networks = [self.generator] + [self.discriminator] * (self.sync_batchnorm == "both")
            synchronise_batchnorm(networks, self.trainer.strategy.root_device)

    def configure_optimizers(self) -> list[Optimizer]:
        optimizers = []
        for name in NAMES:
            try:
                optimizers.append(self.make_optimizers[name](getattr(self, name).parameters()))
            except ValueError as error:  # of torch, without a key
                raise ValueError(f"optimizers.{name}: {error}") from error
        self.rates = LearningRates(optimizers, self.cosine_lr)
        return optimizers

    def on_train_start(self) -> None:
        """The state of the optimisers has been read by now, where a run is continued."""
        batch = int(self.trainer.fit_loop.batch_idx) + 1
        done, then = self._done(batch), self._done(batch + 1)
        jump = self.rates.go_on(done, step=then - done)
        if jump is not None:
            logger.warning(jump)

    def _done(self, batch: int) -> float:
        """The share of the training that lies before this batch of the epoch."""
        batches, epochs = int(self.trainer.num_training_batches), int(self.trainer.max_epochs or 1)
        return (self.trainer.current_epoch * batches + batch) / (epochs * batches)

    def use_memory_format(self, memory_format: torch.memory_format) -> None:
        """Lay out the weights of all networks, and the images of every step, in this order."""
        self.memory_format = memory_format
        for network in (self.generator, self.discriminator, self.objective):
            network.to(memory_format=memory_format)  # type: ignore[call-overload]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, str]:
        """Train on one batch, or skip it and say why in ``fault``: all but the counters is as it was, bit for bit."""
        self.rates.follow(self._done(batch_idx))
        logs, fault = self.step_or_undo(batch, *self.optimizers(), backward=self.manual_backward)  # type: ignore[misc]
        self.iteration += 1
        self.log_dict({f"train_{name}": value for name, value in logs.items()})
        # "step" is what Lightning's loggers take for the x-axis.
        self.log("step", self.iteration.float())
        return fault

    def step_or_undo(
        self,
        batch: dict[str, Tensor],
        generator_optimizer: Any,
        discriminator_optimizer: Any,
        backward: Callable[..., None] = torch.Tensor.backward,
    ) -> tuple[dict[str, Tensor], dict[str, str]]:
        """``step``, and {}; or nothing to log, and why all was put back in ``fault``. Needs no Trainer."""

        def before_update() -> None:
            self._before.remember_update(self.generator, generator_optimizer)

        self._before.remember()
        try:
            logs = self.step(batch, generator_optimizer, discriminator_optimizer, backward, before_update)
        except NonFiniteError as error:
            self._before.undo(generator_optimizer)
            self.accumulated = 0  # what was gathered so far is dropped as well
            return {}, {"fault": str(error)}
        self._before.forget()
        return logs, {}

    def step(
        self,
        batch: dict[str, Tensor],
        generator_optimizer: Any,
        discriminator_optimizer: Any,
        backward: Callable[..., None] = torch.Tensor.backward,
        before_update: Callable[[], None] = lambda: None,  # called where the discriminator's part may still fail
    ) -> dict[str, Tensor]:
        """Train both networks on one batch; returns what there is to log. Needs no Trainer.

        Raises NonFiniteError before the update that a loss or a gradient norm is not fit for.
        """
        judged, logs = self._generator_gradients(batch, generator_optimizer, backward)
        if judged is None:
            before_update()
            generator_optimizer.step()
            torch.clear_autocast_cache()  # of the weights before the update
            with torch.no_grad():
                predicted = self._predict(batch)
            image = self._image(batch).requires_grad_()  # R1 differentiates with respect to it
            judged = self._judge(image, batch["mask"], predicted)
        logs |= self._discriminator_gradients(judged, discriminator_optimizer, backward)
        self.accumulated = (self.accumulated + 1) % self.accumulate
        if self.accumulated:
            average(list(logs.values()))
            return logs
        if not self.second_generator_forward:  # both are known to be finite now: nothing to undo
            generator_optimizer.step()
        if "discr_grad_norm" in logs:
            discriminator_optimizer.step()
        average([*logs.values(), *statistics(self.generator), *statistics(self.discriminator)])
        if self.average is not None:
            self.average.update_parameters(self.generator)
        return logs

    def _generator_gradients(
        self, batch: dict[str, Tensor], optimizer: Any, backward: Callable[..., None]
    ) -> tuple[StepContext | None, dict[str, Tensor]]:
        """Also what the discriminator said, where its own update may use it."""
        predicted = self._predict(batch)
        if not self.second_generator_forward:
            judged = Judged(self.discriminator, self._image(batch), batch["mask"], predicted)
            loss, logs = self.objective.generator_loss(judged.for_generator)
            through = partial(judged.backward, backward=backward)
            logs |= self._gradients(loss, optimizer, "generator", "gen_grad_norm", through)
            return judged.context, logs | {"gen_total": loss.detach()}
        self.discriminator.requires_grad_(False)
        loss, logs = self.objective.generator_loss(self._judge(self._image(batch), batch["mask"], predicted))
        logs |= self._gradients(loss, optimizer, "generator", "gen_grad_norm", backward)
        self.discriminator.requires_grad_(True)
        return None, logs | {"gen_total": loss.detach()}

    def _predict(self, batch: dict[str, Tensor]) -> Tensor:
        x = generator_input(batch["image"], batch["mask"])
        return self.generator(x.contiguous(memory_format=self.memory_format))

    def _image(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["image"].detach().contiguous(memory_format=self.memory_format)

    def _judge(self, image: Tensor, mask: Tensor, fake: Tensor) -> StepContext:
        (real_logits, real_features), (fake_logits, fake_features) = self.discriminator(image), self.discriminator(fake)
        return StepContext(image, mask, fake, real_logits, fake_logits, real_features, fake_features)

    def _discriminator_gradients(
        self, judged: StepContext, optimizer: Any, backward: Callable[..., None]
    ) -> dict[str, Tensor]:
        loss, logs = self.objective.discriminator_loss(judged)
        if loss.requires_grad:  # an objective without an adversarial term trains no discriminator
            into = partial(backward, inputs=list(self.discriminator.parameters()))
            logs |= self._gradients(loss, optimizer, "discriminator", "discr_grad_norm", into)
        return logs

    def _gradients(
        self, loss: Tensor, optimizer: Any, network: str, log: str, backward: Callable[..., None]
    ) -> dict[str, Tensor]:
        """Backward; where an update follows, the mean over all processes, and clip: {log: gradient norm before it}."""
        if self.accumulated == 0:
            optimizer.zero_grad()
        backward(loss / self.accumulate if self.accumulate > 1 else loss)
        parameters = list(getattr(self, network).parameters())
        loss = average_gradients(parameters, loss)  # of every batch: a checkpoint may come before the update
        if self.accumulated + 1 < self.accumulate:
            check_finite(network, loss, torch.zeros_like(loss))
            return {}
        norm = clip_grad_norm_(parameters, self.clip_norm)
        check_finite(network, loss, norm)
        return {log: norm}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Gradients that wait for the update are part of the state."""
        if self.accumulated:
            networks = {"generator": self.generator, "discriminator": self.discriminator}
            checkpoint["accumulated"] = {
                "batches": self.accumulated,
                **{name: {k: p.grad for k, p in net.named_parameters()} for name, net in networks.items()},
            }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        kept = checkpoint.get("accumulated", {"batches": 0})
        self.accumulated = kept["batches"]
        for name in ("generator", "discriminator") if self.accumulated else ():
            for key, parameter in getattr(self, name).named_parameters():
                gradient = kept[name][key]
                parameter.grad = None if gradient is None else torch.empty_like(parameter).copy_(gradient)

    def configure_model(self) -> None:
        if self.compiled and self.generator._compiled_call_impl is None:
            compile_generator(self.generator)

    @property
    def inference_generator(self) -> nn.Module:
        """The network a user gets: the average where there is one, else the generator itself."""
        return self.generator if self.average is None else self.average.module

    def complete(self, image: Tensor, mask: Tensor, network: nn.Module | None = None) -> tuple[Tensor, Tensor]:
        """Raw and composited output of a generator, the one for inference, for images of any size: (B, 3, H, W)."""
        return complete(network or self.inference_generator, image, mask)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        networks = ((self.evaluator, self.inference_generator), (self.raw_evaluator, self.generator))
        for evaluator, network in networks:
            if evaluator is not None:
                _, completed = self.complete(batch["image"], batch["mask"], network)
                with torch.autocast(completed.device.type, enabled=False):  # an SSIM of bfloat16 is wrong
                    evaluator.update(list(batch["name"]), at_least_float32(completed), batch["image"], batch["mask"])

    def on_validation_epoch_end(self) -> None:
        self.evaluator.gather()  # every process has seen its share of the images, and logs the same numbers
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
