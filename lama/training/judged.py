"""What the discriminator says of a batch, computed once for the updates of both networks.

Where both updates see the same fake, so do both calls of the discriminator: its weights have not changed in between.
The generator's gradient stops at what the discriminator answered, and is taken through it by hand; its graph is kept
for the discriminator's own update. Gradients are the same; running statistics of its BatchNorm, which nothing reads,
move once a step and not twice.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from lama.interfaces import StepContext


class Judged:
    """``context`` is for the discriminator's loss, ``for_generator`` for the generator's.

    ``image`` (B, 3, H, W) in [0, 1], ``mask`` (B, 1, H, W), ``predicted`` (B, 3, H, W) with the generator's graph.
    """

    def __init__(self, discriminator: nn.Module, image: Tensor, mask: Tensor, predicted: Tensor) -> None:
        self.predicted = predicted
        image, self.fake = _leaf(image), _leaf(predicted)
        real_logits, real_features = discriminator(image)
        fake_logits, fake_features = discriminator(self.fake)
        self.context = StepContext(
            image, mask, self.fake.detach(), real_logits, fake_logits, real_features, fake_features
        )
        self.for_generator = replace(
            self.context,
            image=image.detach(),
            predicted=_leaf(predicted),
            real_logits=real_logits.detach(),
            fake_logits=_leaf(fake_logits),
            real_features=[feature.detach() for feature in real_features],
            fake_features=[_leaf(feature) for feature in fake_features],
        )

    def backward(self, loss: Tensor, backward: Callable[[Tensor], None]) -> None:
        """From the loss of ``for_generator`` to the parameters of the generator, and no others."""
        backward(loss)
        ours, asked = self.for_generator, self.context
        answers = zip([asked.fake_logits, *asked.fake_features], [ours.fake_logits, *ours.fake_features], strict=True)
        used = [(answer, leaf.grad) for answer, leaf in answers if leaf.grad is not None]
        if used:
            tensors, gradients = zip(*used, strict=True)
            torch.autograd.backward(tensors, gradients, retain_graph=True, inputs=[self.fake])
        total = [leaf.grad for leaf in (ours.predicted, self.fake) if leaf.grad is not None]
        self.predicted.backward(torch.stack(total).sum(dim=0))


def _leaf(x: Tensor) -> Tensor:
    return x.detach().requires_grad_()
