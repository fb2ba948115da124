"""What the generators of the paper have in common: the way back up to the picture."""

from collections.abc import Sequence

from torch import Tensor, nn

from lama.conventions import at_least_float32


class Sigmoid(nn.Sigmoid):
    """In float32, whatever came before: bfloat16 knows 256 shades between 1/2 and 1 and this is a picture."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(at_least_float32(x))


def check_sizes(ngf: int, n_downsampling: int, n_blocks: int) -> None:
    """Raise ValueError unless each is at least 1."""
    if min(ngf, n_downsampling, n_blocks) < 1:
        raise ValueError(
            f"generator: ngf, n_downsampling and n_blocks must be at least 1, got {ngf}, {n_downsampling}, {n_blocks}"
        )


def level_widths(ngf: int, n_downsampling: int, max_features: int) -> list[int]:
    """Channels at every resolution, finest first: doubled by each downsampling, never more than ``max_features``."""
    return [min(max_features, ngf * 2**i) for i in range(n_downsampling + 1)]


def decoder(widths: Sequence[int], output_nc: int) -> list[nn.Module]:
    """(B, widths[-1], h, w) -> (B, output_nc, 2^n h, 2^n w) in [0, 1]: transposed convolutions, a 7 x 7, a sigmoid."""
    layers: list[nn.Module] = []
    for i in reversed(range(len(widths) - 1)):
        layers += [
            nn.ConvTranspose2d(widths[i + 1], widths[i], 3, stride=2, padding=1, output_padding=1),
            nn.BatchNorm2d(widths[i]),
            nn.ReLU(inplace=True),
        ]
    return [*layers, nn.ReflectionPad2d(3), nn.Conv2d(widths[0], output_nc, 7), Sigmoid()]
