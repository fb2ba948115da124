"""The sum of loss terms that a training minimises, and what its discriminator minimises."""

import torch
from torch import Tensor, nn

from lama.interfaces import DiscriminatorLoss, StepContext


class Objective(nn.Module):
    """Named loss terms; the names are those of the YAML and of the curves.

    A term that is None (weight 0 in the YAML) takes no part. Raises ValueError where no term is left.
    """

    def __init__(self, **terms: nn.Module | None) -> None:
        super().__init__()
        self.terms = nn.ModuleDict({name: term for name, term in terms.items() if term is not None})
        if not self.terms:
            raise ValueError("losses: every term has weight 0; give at least one a weight")

    @property
    def differentiates_twice(self) -> bool:
        """Whether a term takes the gradient of a gradient of the discriminator, as R1 does."""
        return any(getattr(term, "differentiates_twice", False) for term in self.terms.values())

    def generator_loss(self, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of all terms (scalar), and each under ``gen_<name>``."""
        values = {f"gen_{name}": term(context) for name, term in self.terms.items()}
        return torch.stack(list(values.values())).sum(), {name: value.detach() for name, value in values.items()}

    def discriminator_loss(self, context: StepContext) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of what the adversarial terms ask of the discriminator, and its parts under ``discr_<part>``."""
        total = context.real_logits.new_zeros(())
        logs: dict[str, Tensor] = {}
        for term in self.terms.values():
            if isinstance(term, DiscriminatorLoss):
                loss, parts = term.discriminator_loss(context)
                total = total + loss
                logs |= {f"discr_{part}": value for part, value in parts.items()}
        return total, logs | {"discr_total": total.detach()}
