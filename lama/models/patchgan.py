"""PatchGAN discriminator (Isola et al., CVPR 2017; pix2pixHD, Wang et al., CVPR 2018), with the published keys."""

from typing import Any

from torch import Tensor, nn

from lama.conventions import at_least_float32


class PatchDiscriminator(nn.Module):
    """Image (B, 3, H, W) in [0, 1] -> logits (B, 1, h, w) and ``n_layers + 1`` activations, shallow to deep.

    With 4 layers a logit sees 142 x 142 pixels at a stride of 16; a 256 x 256 image gives 19 x 19 logits, because
    every convolution pads 2 and the grid overhangs the image. The mask is not an input.
    """

    def __init__(self, input_nc: int = 3, ndf: int = 64, n_layers: int = 4) -> None:
        super().__init__()
        if n_layers < 1:
            raise ValueError(f"discriminator.n_layers: expected at least 1, got {n_layers}")
        self.config: dict[str, Any] = {"input_nc": input_nc, "ndf": ndf, "n_layers": n_layers}
        self.n_layers = n_layers
        widths = [input_nc] + [min(512, ndf * 2**i) for i in range(n_layers)]
        widths.append(min(512, 2 * widths[-1]))
        for i in range(n_layers + 1):
            stride = 1 if i == n_layers else 2
            layers: list[nn.Module] = [nn.Conv2d(widths[i], widths[i + 1], 4, stride, padding=2)]
            if i > 0:
                layers.append(nn.BatchNorm2d(widths[i + 1]))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            self.add_module(f"model{i}", nn.Sequential(*layers))
        self.add_module(f"model{n_layers + 1}", nn.Sequential(nn.Conv2d(widths[-1], 1, 4, 1, padding=2)))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        for i in range(self.n_layers + 1):
            x = self.get_submodule(f"model{i}")(x)
            features.append(x)
        logits = self.get_submodule(f"model{self.n_layers + 1}")(x)
        return at_least_float32(logits), features
