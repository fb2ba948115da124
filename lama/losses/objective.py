"""The losses of the generator and of the discriminator, as sums of loss terms."""

import torch
from torch import Tensor, nn

from lama.interfaces import DiscriminatorLoss, StepContext


class Objective(nn.Module):
    """Named loss terms; None (weight 0 in the YAML) is left out. Raises ValueError if all are None."""

    def __init__(self, **terms: nn.Module | None) -> None:
        super().__init__()
        self.terms = nn.ModuleDict({name: term for name, term in terms.items() if term is not None})
        if not self.terms:
            raise ValueError("losses: every term has weight 0; expected at least one with another weight")

    @property
    def differentiates_twice(self) -> bool:
        """True if a term needs the discriminator's second derivative, as R1 does."""
        return any(getattr(term, "differentiates_twice", False) for term in self.terms.values())

    def generator_loss(self, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of all terms (scalar), and each term as ``gen_<name>``."""
        values = {f"gen_{name}": term(context) for name, term in self.terms.items()}
        return torch.stack(list(values.values())).sum(), {name: value.detach() for name, value in values.items()}

    def discriminator_loss(self, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of the terms' discriminator losses (scalar), and their parts as ``discr_<part>``."""
        total = context.real_logits.new_zeros(())
        logs: dict[str, Tensor] = {}
        for term in self.terms.values():
            if isinstance(term, DiscriminatorLoss):
                loss, parts = term.discriminator_loss(context)
                total = total + loss
                logs |= {f"discr_{part}": value for part, value in parts.items()}
        return total, logs | {"discr_total": total.detach()}
