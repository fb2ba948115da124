"""The training step of LaMa (paper, section 2.3): generator and discriminator, each with its own optimiser.

``_official_step`` has the order of operations of the official code under Lightning 1.2, as manual optimisation.
``_modern_step`` computes the same losses with one forward pass of the generator and one of the discriminator.
"""

import copy
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from lama.conventions import at_least_float32, complete, generator_input, without_autocast
from lama.evaluation import Evaluator
from lama.fast.columns import use_columns
from lama.fast.trained_winograd import use_winograd
from lama.interfaces import StepContext
from lama.losses import Objective
from lama.losses.frozen import Frozen
from lama.machine.device import float32
from lama.training.averaging import averaged_backward, highest, mean_over_ranks, statistics, synchronise_batchnorm
from lama.training.compiled import compile_generator
from lama.training.discriminator_outputs import DiscriminatorOutputs
from lama.training.learning_rates import NAMES, LearningRates
from lama.training.moving_average import moving_average
from lama.training.non_finite import Outcome, Outcomes, StepGuard, Vitals
from lama.training.recompute import recompute_blocks as recompute

logger = logging.getLogger(__name__)

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
Backward = Callable[..., None]  # ``Tensor.backward``, or Lightning's, which knows of its precision
Logs = dict[str, Tensor]  # scalars
PREFIXES = {"generator": "gen", "discriminator": "discr"}  # prefixes in the log


class InpaintingModule(LightningModule):
    """Trains a generator and a discriminator on an objective.

    Batches are {"image": (B, 3, H, W) in [0, 1], "mask": (B, 1, H, W), 1 = hole}. ``iteration`` counts batches
    (Lightning's ``global_step`` counts the steps of both optimisers). Checkpoints do not hold the objective's frozen
    networks.
    """

    iteration: Tensor

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        objective: Objective,
        evaluator: Evaluator,  # scores the validation set
        optimizers: dict[str, MakeOptimizer],  # "generator" and "discriminator"
        second_generator_forward: bool = True,  # official step: the discriminator sees a new fake of the updated
        # generator; False: modern step, with the fake of the generator's update, which saves a forward pass
        clip_norm: float = 1.0,  # global gradient norm of each optimiser
        cosine_lr: bool = False,  # reduce both learning rates to 0 over the training, along half a cosine
        ema_decay: float | None = None,  # average the generator's weights, and validate the average; None = do not
        validate_raw: bool = False,  # with averaged weights, validate the weights of the last step too
        sync_batchnorm: str | None = None,  # "generator" or "both": their BatchNorm sees the batch of all GPUs
        accumulate: int = 1,  # batches per update, averaged; BatchNorm and R1 see each of them alone
        recompute_blocks: bool = False,  # store no activations inside the generator's blocks: less memory, more time
        tf32: bool = True,  # on a GPU since Ampere, convolutions may use TF32: faster, errors of 1e-3; scores never do
        compiled: bool = False,  # torch.compile the generator, which takes minutes at the start
        winograd: bool = False,  # on a CPU: compiled 3 x 3 Winograd convolutions (float32), the 7 x 7 by columns
    ) -> None:
        super().__init__()
        if clip_norm <= 0:
            raise ValueError(f"recipe.clip_norm: expected more than 0, inf for no clipping, got {clip_norm}")
        if accumulate < 1:
            raise ValueError(f"recipe.accumulate: expected at least 1, got {accumulate}")
        if accumulate > 1 and second_generator_forward:
            needs = "needs recipe.second_generator_forward=false"
            raise ValueError(f"recipe.accumulate={accumulate}: {needs}: a second fake needs an updated generator")
        if compiled and recompute_blocks:
            raise ValueError("recipe.compiled=true recipe.recompute_blocks=true: expected at most one of them")
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
        if sync_batchnorm not in (None, "generator", "both"):
            raise ValueError(f"recipe.sync_batchnorm: expected generator, both or null, got {sync_batchnorm!r}")
        if sync_batchnorm == "both" and objective.differentiates_twice:
            raise ValueError("recipe.sync_batchnorm=both: SyncBatchNorm has no second derivative, which R1 needs; use "
                             "recipe.sync_batchnorm=generator, or losses.adversarial.gp_coef=0")  # fmt: skip
        self.tf32 = tf32
        self.accumulate = accumulate
        self.accumulated = 0  # batches since the last update
        self.compiled = compiled
        self.average = None if ema_decay is None else moving_average(generator, ema_decay)
        self.raw_evaluator: Evaluator | None = None
        if validate_raw and self.average is not None:
            self.raw_evaluator = copy.copy(evaluator)  # shares the networks of the metrics
            self.raw_evaluator.reset()
        if recompute_blocks:
            recompute(generator)
        if winograd and not compiled:  # torch.compile cannot trace it
            use_columns(generator)
            use_winograd(generator, *(loss.network for loss in objective.modules() if isinstance(loss, Frozen)))
        self.use_memory_format(torch.channels_last)  # the fastest layout for convolutions
        self.register_buffer("iteration", torch.zeros((), dtype=torch.long))
        self.guard = StepGuard([generator, discriminator])
        self.outcomes = Outcomes()
        self.diverged = torch.tensor(False)  # whether a prediction of the latest validation was not finite

    def _apply(self, fn: Any, recurse: bool = True) -> "InpaintingModule":
        """Move everything but ``iteration``: reading it on a GPU would wait for all of its work, in every step."""
        iteration = self.iteration
        super()._apply(fn, recurse)
        self.iteration = iteration
        return self

    def setup(self, stage: str) -> None:
        """Called on every rank after the process group has been initialised."""
        if self.sync_batchnorm is not None and self.trainer.world_size > 1:
            networks = [self.generator] + [self.discriminator] * (self.sync_batchnorm == "both")
            synchronise_batchnorm(networks, self.trainer.strategy.root_device)

    def configure_optimizers(self) -> list[Optimizer]:
        optimizers = []
        for name in NAMES:
            try:
                optimizers.append(self.make_optimizers[name](getattr(self, name).parameters()))
            except ValueError as error:  # torch names no key
                raise ValueError(f"optimizers.{name}: {error}") from error
        self.rates = LearningRates(optimizers, self.cosine_lr)
        return optimizers

    def on_train_start(self) -> None:
        """Set the learning rates; a resumed run has loaded its optimisers by now."""
        batch = int(self.trainer.fit_loop.batch_idx) + 1
        done, then = self._done(batch), self._done(batch + 1)
        jump = self.rates.go_on(done, step=then - done)
        if jump is not None:
            logger.warning(jump)
        # As the latest step has left them, for a checkpoint before the next one: after a kill there may be none.
        self.rates.follow(max(0.0, self._done(batch - 1)))

    def _done(self, batch: int) -> float:
        """The share of the training, in [0, 1], that is completed before batch ``batch`` of the epoch."""
        batches, epochs = int(self.trainer.num_training_batches), int(self.trainer.max_epochs or 1)
        return (self.trainer.current_epoch * batches + batch) / (epochs * batches)

    def use_memory_format(self, memory_format: torch.memory_format) -> None:
        """Store the weights of all networks and the images of every step in this layout; values stay the same."""
        self.memory_format = memory_format
        averages = [] if self.average is None else [self.average]  # with other strides, updating them is slow on a GPU
        for network in (self.generator, self.discriminator, self.objective, *averages):
            network.to(memory_format=memory_format)  # type: ignore[call-overload]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, str]:
        """Train on one batch; if a loss or gradient is not finite, nothing changes but the counters, bit for bit.

        Returns the reason as ``fault`` where it is known: after every batch on a CPU, elsewhere after a logged one.
        """
        self.rates.follow(self._done(batch_idx))
        with float32(self.tf32):
            logs, outcome = self.step(batch, *self.optimizers(), backward=self.manual_backward)  # type: ignore[misc]
        self.iteration += 1
        iteration = int(self.iteration)
        self.outcomes.unread.append((iteration, outcome))
        known = outcome.readable or iteration % self.trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        fault = self.outcomes.read() if known else ""
        if not fault:
            self.log_dict({f"train_{name}": value for name, value in logs.items()})
        # Lightning's loggers take "step" for the x-axis.
        self.log("step", self.iteration.float())
        return {"fault": fault} if fault else {}

    def step(
        self,
        batch: dict[str, Tensor],
        generator_optimizer: Any,
        discriminator_optimizer: Any,
        backward: Backward = torch.Tensor.backward,
    ) -> tuple[Logs, Outcome]:
        """Train both networks on one batch; returns the scalars to log, and whether all was finite. Needs no Trainer.

        A step that is not finite changes nothing, and its scalars are of no use.
        """
        self.guard.begin(generator_optimizer, discriminator_optimizer, first=self.accumulated == 0)
        step = self._official_step if self.second_generator_forward else self._modern_step
        logs = step(batch, generator_optimizer, discriminator_optimizer, backward)
        return logs, self._end_of_step(logs)

    def _official_step(
        self, batch: dict[str, Tensor], generator_optimizer: Any, discriminator_optimizer: Any, backward: Backward
    ) -> Logs:
        """The published step: update the generator, then train the discriminator on a fake of the updated generator."""
        image, mask = self._image(batch), batch["mask"]

        # Generator: forward, losses (L_final of section 2.3), backward, clip, update.
        with frozen(self.discriminator):
            loss, logs = self.objective.generator_loss(self._discriminate(image, mask, self._predict(batch)))
            generator_optimizer.zero_grad()
            norm, vitals = self._average_and_clip("generator", loss, partial(backward, loss))
        self.guard.judge(vitals)
        logs |= norm | {"gen_total": loss.detach()}
        del loss  # and its graph
        self.guard.remember_update(self.generator, generator_optimizer)
        self.guard.update(generator_optimizer)
        torch.clear_autocast_cache()  # it holds the weights before the update

        # Discriminator: forward of both networks, adversarial loss and R1, backward, clip, update.
        with torch.no_grad():
            predicted = self._predict(batch)
        image.requires_grad_()  # R1 is the gradient of the logits with respect to the real image
        loss, discriminator_logs = self.objective.discriminator_loss(self._discriminate(image, mask, predicted))
        logs |= discriminator_logs
        if loss.requires_grad:  # false without an adversarial term
            discriminator_optimizer.zero_grad()
            to_discriminator = partial(backward, loss, inputs=list(self.discriminator.parameters()))
            norm, vitals = self._average_and_clip("discriminator", loss, to_discriminator)
            self.guard.judge(vitals)
            logs |= norm
            self.guard.update(discriminator_optimizer)
        return logs

    def _modern_step(
        self, batch: dict[str, Tensor], generator_optimizer: Any, discriminator_optimizer: Any, backward: Backward
    ) -> Logs:
        """One fake and one pass of the discriminator for both updates; they follow after ``accumulate`` batches."""
        # Forward: generator, then discriminator on the real image and the fake.
        outputs = DiscriminatorOutputs(self.discriminator, self._image(batch), batch["mask"], self._predict(batch))

        # Generator: losses, backward through the discriminator, clip.
        loss, logs = self.objective.generator_loss(outputs.for_generator)
        if self.accumulated == 0:
            generator_optimizer.zero_grad()
        to_generator = partial(outputs.backward, loss / self.accumulate, backward)
        norm, *vitals = self._average_and_clip("generator", loss, to_generator)
        logs |= norm | {"gen_total": loss.detach()}
        context = outputs.for_discriminator
        del loss, outputs, to_generator  # and the gradients at the cut

        # Discriminator: adversarial loss and R1, backward, clip.
        loss, discriminator_logs = self.objective.discriminator_loss(context)
        logs |= discriminator_logs
        adversarial = loss.requires_grad
        if adversarial:
            if self.accumulated == 0:
                discriminator_optimizer.zero_grad()
            to_discriminator = partial(backward, loss / self.accumulate, inputs=list(self.discriminator.parameters()))
            norm, last = self._average_and_clip("discriminator", loss, to_discriminator)
            logs |= norm
            vitals.append(last)
        self.guard.judge(*vitals)

        # Update both networks: both judgements are known by now, so no update has to be undone.
        self.accumulated = (self.accumulated + 1) % self.accumulate
        if not self.accumulated:
            self.guard.update(generator_optimizer)
            if adversarial:
                self.guard.update(discriminator_optimizer)
        return logs

    def _average_and_clip(self, network: str, loss: Tensor, backward: Callable[[], None]) -> tuple[Logs, Vitals]:
        """Call ``backward``, average the gradients of ``network`` over the ranks, and clip them.

        Returns the norm before clipping, and the vitals. While batches are still accumulated, nothing is clipped, and
        there is no norm to log.
        """
        parameters = list(getattr(self, network).parameters())
        overlap = self.sync_batchnorm is None  # it exchanges in the backward pass too: the order could differ by rank
        loss = averaged_backward(backward, parameters, loss, overlap)  # of every batch: a checkpoint may come between
        if self.accumulated + 1 < self.accumulate:
            return {}, Vitals(network, loss, None)
        norm = clip_grad_norm_(parameters, self.clip_norm)
        return {f"{PREFIXES[network]}_grad_norm": norm}, Vitals(network, loss, norm)

    def _end_of_step(self, logs: Logs) -> Outcome:
        """Make logs and, after an update, BatchNorm statistics the same on all ranks; update the averaged weights."""
        networks = () if self.accumulated else (self.generator, self.discriminator)
        mean_over_ranks([*logs.values(), *(one for network in networks for one in statistics(network))])
        outcome = self.guard.put_back()
        if self.average is not None and not self.accumulated:
            self.average.update_parameters(self.generator, self.guard.whole)
        return outcome

    def _predict(self, batch: dict[str, Tensor]) -> Tensor:
        x = generator_input(batch["image"], batch["mask"])
        return self.generator(x.contiguous(memory_format=self.memory_format))

    def _image(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["image"].detach().contiguous(memory_format=self.memory_format)

    def _discriminate(self, image: Tensor, mask: Tensor, fake: Tensor) -> StepContext:
        (real_logits, real_features), (fake_logits, fake_features) = self.discriminator(image), self.discriminator(fake)
        return StepContext(image, mask, fake, real_logits, fake_logits, real_features, fake_features)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the accumulated gradients."""
        if self.accumulated:
            networks = {"generator": self.generator, "discriminator": self.discriminator}
            checkpoint["accumulated"] = {
                "batches": self.accumulated,
                "finite": self.guard.whole,
                **{name: {k: p.grad for k, p in net.named_parameters()} for name, net in networks.items()},
            }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        scale = checkpoint["state_dict"].get("scale")
        self.set_scale(None if scale is None else int(scale))
        kept = checkpoint.get("accumulated", {"batches": 0})
        self.accumulated = kept["batches"]
        self.guard.whole = kept.get("finite", torch.tensor(True)) if self.accumulated else None
        for name in ("generator", "discriminator") if self.accumulated else ():
            for key, parameter in getattr(self, name).named_parameters():
                gradient = kept[name][key]
                parameter.grad = None if gradient is None else torch.empty_like(parameter).copy_(gradient)

    def set_scale(self, scale: int | None) -> None:
        """The scale that files of the generator and checkpoints state (``lama.checkpoints.format``)."""
        self.register_buffer("scale", None if scale is None else torch.tensor(scale))
        for network in (self.generator, self.inference_generator):
            network.own_scale = scale  # type: ignore[assignment]

    def configure_model(self) -> None:
        if self.compiled and self.generator._compiled_call_impl is None:
            compile_generator(self.generator)

    @property
    def inference_generator(self) -> nn.Module:
        """The network to use: the average of the weights if there is one, else the generator."""
        return self.generator if self.average is None else self.average.module

    def complete(self, image: Tensor, mask: Tensor, network: nn.Module | None = None) -> tuple[Tensor, Tensor]:
        """Raw and composited output of a generator, the one for inference, for images of any size: (B, 3, H, W)."""
        return complete(network or self.inference_generator, image, mask)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        networks = ((self.evaluator, self.inference_generator), (self.raw_evaluator, self.generator))
        for evaluator, network in networks:
            if evaluator is not None:
                with float32():
                    _, completed = self.complete(batch["image"], batch["mask"], network)
                self.diverged |= ~completed.isfinite().all()
                with without_autocast(completed):  # SSIM in bfloat16 is wrong
                    finite = at_least_float32(completed).nan_to_num(0, 1, 0)
                    evaluator.update(list(batch["name"]), finite, batch["image"], batch["mask"])

    def on_validation_epoch_start(self) -> None:
        self.diverged = torch.zeros((), dtype=torch.bool, device=self.device)

    def on_validation_epoch_end(self) -> None:
        """Log the scores; all are nan if one prediction was not finite on any rank (``NonFiniteGuard`` acts on it)."""
        (diverged,) = highest(int(self.diverged))
        self.diverged = torch.tensor(bool(diverged))
        self.evaluator.gather()  # each rank has seen its share of the images
        groups = self.evaluator.compute_groups() | {"total": self.evaluator.compute()}
        self.evaluator.reset()
        self.log_dict(dict(_logged(groups, "val", bool(self.diverged))))
        if self.raw_evaluator is not None:
            self.raw_evaluator.gather()
            self.log_dict(dict(_logged({"total": self.raw_evaluator.compute()}, "val_raw", bool(self.diverged))))
            self.raw_evaluator.reset()
        self.log("step", self.iteration.float())


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Compute no gradients of the parameters of ``network`` in this block; gradients of its input are computed."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def _logged(groups: dict[str, dict[str, Any]], prefix: str, diverged: bool) -> Iterator[tuple[str, float]]:
    """(name, value) with the official names, such as ``val_ssim_total_mean`` and ``val_fid_10-20%_mean``."""
    for group, results in groups.items():
        for metric, result in results.items():
            for statistic in ("mean", "std"):
                if result.get(statistic) is not None:
                    yield f"{prefix}_{metric}_{group}_{statistic}", float("nan") if diverged else result[statistic]
