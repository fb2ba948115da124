"""Pixel loss: L1 with separate weights for known and missing pixels."""

from torch import Tensor, nn

from lama.interfaces import StepContext


class MaskedL1Loss(nn.Module):
    """mean |predicted - image| * (weight_missing * mask + weight_known * (1 - mask)), over all B * 3 * H * W elements.

    The published trainings weight only known pixels (10 and 0): in the hole, L1 favours the median of all plausible
    fills, which is blurred. The loss is not normalised by the area of the mask.
    """

    def __init__(self, weight_known: float = 10.0, weight_missing: float = 0.0) -> None:
        super().__init__()
        self.weight_known = weight_known
        self.weight_missing = weight_missing

    def forward(self, context: StepContext) -> Tensor:
        weights = self.weight_missing * context.mask + self.weight_known * (1 - context.mask)
        return ((context.predicted - context.image).abs() * weights).mean()
