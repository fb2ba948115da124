"""VGG19 up to relu5_1, for the classical perceptual loss (the paper's table 3, row "VGG19")."""

from torch import Tensor, nn

_CONVS_PER_STAGE = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 1))


class VGG19Features(nn.Module):
    """ImageNet-normalised RGB (B, 3, H, W) -> the 13 maps after each ReLU, relu1_1 to relu5_1.

    Simonyan and Zisserman, ICLR 2015, with average in place of max pooling as in the official loss. Keys are
    torchvision's (``features.<i>.weight``).
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        in_channels = 3
        for stage, (channels, convs) in enumerate(_CONVS_PER_STAGE):
            if stage:
                layers.append(nn.AvgPool2d(2, 2))
            for _ in range(convs):
                layers += [nn.Conv2d(in_channels, channels, 3, padding=1), nn.ReLU()]
                in_channels = channels
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                maps.append(x)
        return maps
