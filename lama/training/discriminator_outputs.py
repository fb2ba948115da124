"""One forward pass of the discriminator for the updates of both networks.

Both updates see the same fake and the same discriminator weights, so its outputs are the same too. The graph is cut
twice; the gradients behind a cut are copied across it by hand:

    generator -> predicted =|=> fake -> discriminator -> logits, features =|=> leaves -> generator loss
                            cut                               |            cut
                                                              +-> discriminator loss

``backward`` carries the generator's gradient from right to left over both cuts, and leaves the discriminator's
parameters alone. The graph between the cuts is kept for the discriminator's own backward pass. The gradients equal
the gradients of two forward passes. Only the running statistics of the discriminator's BatchNorm are updated once a
step instead of twice; nothing reads them.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from lama.interfaces import StepContext


class DiscriminatorOutputs:
    """Logits and features of a batch, as two contexts: ``for_discriminator`` and ``for_generator`` (behind the cut).

    Args: ``image`` (B, 3, H, W) in [0, 1]; ``mask`` (B, 1, H, W), 1 = hole; ``predicted`` (B, 3, H, W) with the
    generator's graph.
    """

    def __init__(self, discriminator: nn.Module, image: Tensor, mask: Tensor, predicted: Tensor) -> None:
        self.predicted = predicted
        image, self.fake = _leaf(image), _leaf(predicted)
        real_logits, real_features = discriminator(image)
        fake_logits, fake_features = discriminator(self.fake)
        self.for_discriminator = StepContext(
            image, mask, self.fake.detach(), real_logits, fake_logits, real_features, fake_features
        )
        self.for_generator = replace(
            self.for_discriminator,
            image=image.detach(),
            predicted=_leaf(predicted),
            real_logits=real_logits.detach(),
            fake_logits=_leaf(fake_logits),
            real_features=[feature.detach() for feature in real_features],
            fake_features=[_leaf(feature) for feature in fake_features],
        )

    def backward(self, loss: Tensor, backward: Callable[[Tensor], None]) -> None:
        """Add the gradient of ``loss``, computed from ``for_generator``, to the generator's parameters only."""
        backward(loss)  # to the leaves
        leaves, outputs = self.for_generator, self.for_discriminator
        cut = zip([outputs.fake_logits, *outputs.fake_features], [leaves.fake_logits, *leaves.fake_features],
                  strict=True)  # fmt: skip
        used = [(output, leaf.grad) for output, leaf in cut if leaf.grad is not None]
        if used:  # through the discriminator to the fake
            tensors, gradients = zip(*used, strict=True)
            torch.autograd.backward(tensors, gradients, retain_graph=True, inputs=[self.fake])
        total = [leaf.grad for leaf in (leaves.predicted, self.fake) if leaf.grad is not None]
        self.predicted.backward(torch.stack(total).sum(dim=0))  # through the generator


def _leaf(x: Tensor) -> Tensor:
    return x.detach().requires_grad_()
