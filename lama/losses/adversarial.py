"""Non-saturating adversarial loss with R1 and mask-aware targets for the fake patches.

Paper, section 2.3, equations 2 to 4: patches in the hole count as fake, known patches of a generated image count as
real. By default one pixel of a patch decides, as in the published code; by the paper's text any hole pixel makes it
fake (``maxpool``). R1 is Mescheder et al., ICML 2018, without the factor 1/2.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lama.interfaces import StepContext


class NonSaturatingAdversarialLoss(nn.Module):
    """Generator: weight * mean softplus(-D(G)), equation 3. Raises ValueError for contradictory options."""

    def __init__(
        self,
        weight: float = 10.0,  # weight of the generator's term; the discriminator's has weight 1
        gp_coef: float = 0.001,  # gamma, the weight of R1
        mask_as_fake_target: bool = True,  # known patches of a fake image count as real
        mask_scale_mode: Literal["nearest", "maxpool"] = "nearest",  # resizing of the mask to the logits: nearest as in
        # the published code, maxpool (a patch with any hole pixel is fake) as in the paper's text
        extra_mask_weight_for_gen: float = 0.0,  # the generator's loss has weight 1 + this in the hole
        use_unmasked_for_gen: bool = True,  # compute the generator's loss on known patches too
        use_unmasked_for_discr: bool = True,  # False: fakes count only in the hole
    ) -> None:
        super().__init__()
        if use_unmasked_for_discr and not use_unmasked_for_gen:
            raise ValueError("adversarial: use_unmasked_for_discr=true needs use_unmasked_for_gen=true")
        if mask_as_fake_target and not use_unmasked_for_discr:
            raise ValueError("adversarial: mask_as_fake_target=true needs use_unmasked_for_discr=true")
        if extra_mask_weight_for_gen and not mask_as_fake_target:
            raise ValueError(f"adversarial: extra_mask_weight_for_gen={extra_mask_weight_for_gen} needs "
                             "mask_as_fake_target=true")  # fmt: skip
        if mask_scale_mode not in ("nearest", "maxpool"):
            raise ValueError(f"adversarial.mask_scale_mode: expected nearest or maxpool, got {mask_scale_mode!r}")
        self.weight = weight
        self.gp_coef = gp_coef
        self.mask_as_fake_target = mask_as_fake_target
        self.mask_scale_mode = mask_scale_mode
        self.extra_mask_weight_for_gen = extra_mask_weight_for_gen
        self.use_unmasked_for_gen = use_unmasked_for_gen
        self.use_unmasked_for_discr = use_unmasked_for_discr

    @property
    def differentiates_twice(self) -> bool:
        """True if there is an R1 penalty, which needs the discriminator's second derivative."""
        return self.gp_coef != 0

    def forward(self, context: StepContext) -> Tensor:
        """The generator's term, a scalar."""
        loss = F.softplus(-context.fake_logits)  # -log sigmoid(D(G(x)))
        if not self.use_unmasked_for_gen:
            loss = loss * self._mask_on_grid(context)
        elif self.mask_as_fake_target and self.extra_mask_weight_for_gen > 0:
            loss = loss * (1 + self.extra_mask_weight_for_gen * self._mask_on_grid(context))
        return self.weight * loss.mean()

    def discriminator_loss(self, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """The discriminator's loss (scalar), equation 2, and its parts for the log.

        softplus(-D(x)) + m * softplus(D(G)) + (1 - m) * softplus(-D(G)) + gamma * R1, the first three averaged over the
        logits. R1 is a mean over the batch; it is 0 if ``context.image`` does not require grad.
        """
        real = F.softplus(-context.real_logits)  # -log sigmoid(D(x))
        fake = F.softplus(context.fake_logits)  # -log (1 - sigmoid(D(G(x))))
        if self.mask_as_fake_target:
            mask = self._mask_on_grid(context)
            fake = mask * fake + (1 - mask) * F.softplus(-context.fake_logits)
        elif not self.use_unmasked_for_discr:
            fake = fake * self._mask_on_grid(context)
        penalty = context.real_logits.new_zeros(())
        if self.differentiates_twice:
            penalty = self.gp_coef * r1_penalty(context.real_logits, context.image)
        logs = {
            "real_out": context.real_logits.detach().mean(),
            "fake_out": context.fake_logits.detach().mean(),
            "real_gp": penalty.detach(),
        }
        return real.mean() + fake.mean() + penalty, logs

    def _mask_on_grid(self, context: StepContext) -> Tensor:
        """The mask at the resolution of the logits, (B, 1, h, w)."""
        size = context.fake_logits.shape[-2:]
        if self.mask_scale_mode == "maxpool":
            return F.adaptive_max_pool2d(context.mask, size)
        return F.interpolate(context.mask, size=size, mode="nearest")


def r1_penalty(real_logits: Tensor, image: Tensor) -> Tensor:
    """R1 = mean over the batch of ||grad_x sum D(x)||^2; 0 if ``image`` does not require grad, as in validation."""
    if not (torch.is_grad_enabled() and image.requires_grad):
        return real_logits.new_zeros(())
    (gradient,) = torch.autograd.grad(real_logits.sum(), image, create_graph=True)
    return gradient.flatten(1).square().sum(dim=1).mean()
