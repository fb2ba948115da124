"""The encoder of the high-receptive-field perceptual loss: a dilated ResNet50 trained to segment ADE20K.

Zhou et al., "Semantic understanding of scenes through the ADE20K dataset", IJCV 2019. Unlike the usual ResNet50 it has
three 3 x 3 convolutions as stem, and dilation in place of stride in the last two stages: their features keep 1/8 of the
resolution and see up to 431 pixels. 23,631,808 parameters, state-dict keys as released (``encoder_epoch_20.pth``).
"""

import copy

from torch import Tensor, nn

from lama.models.folding import fold


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 (strided or dilated), 1 x 1 convolutions with a skip; output has 4 times ``planes`` channels."""

    def __init__(self, in_channels: int, planes: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        out_channels = 4 * planes
        self.conv1 = nn.Conv2d(in_channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + skip)


class SegmentationEncoder(nn.Module):
    """Normalised RGB (B, 3, H, W) -> features of the four stages.

    256, 512, 1024 and 2048 channels at 1/4, 1/8, 1/8 and 1/8 of the resolution; without dilation, the plain ResNet50
    of table 3's ablation, the last two are at 1/16 and 1/32. The weights have the same names and shapes either way.
    """

    def __init__(self, dilated: bool = True) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, 2, padding=1, bias=False), nn.BatchNorm2d(64)
        self.conv2, self.bn2 = nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64)
        self.conv3, self.bn3 = nn.Conv2d(64, 128, 3, padding=1, bias=False), nn.BatchNorm2d(128)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = _stage(128, 64, blocks=3)
        self.layer2 = _stage(256, 128, blocks=4, stride=2)
        self.layer3 = _stage(512, 256, 6, dilation=2) if dilated else _stage(512, 256, 6, stride=2)
        self.layer4 = _stage(1024, 512, 3, dilation=4) if dilated else _stage(1024, 512, 3, stride=2)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.maxpool(self.relu(self.bn3(self.conv3(x))))
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            features.append(x)
        return features

    def folded(self) -> "SegmentationEncoder":
        """A copy for eval mode only, with every BatchNorm multiplied into its convolution; the same features."""
        network = copy.deepcopy(self).eval()
        for layer in network.modules():
            if isinstance(layer, SegmentationEncoder | Bottleneck):
                for i in (1, 2, 3):
                    _fold_(layer, f"conv{i}", f"bn{i}")
            if isinstance(layer, Bottleneck) and layer.downsample is not None:
                _fold_(layer.downsample, "0", "1")
        return network


def _fold_(layer: nn.Module, conv: str, norm: str) -> None:
    """Fold the BatchNorm named ``norm`` into the convolution named ``conv``, in place."""
    convolution, normalisation = layer.get_submodule(conv), layer.get_submodule(norm)
    if isinstance(convolution, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d):
        dtype, (weight, bias) = convolution.weight.dtype, fold(convolution, normalisation)
        assert bias is not None
        convolution.weight, convolution.bias = nn.Parameter(weight.to(dtype)), nn.Parameter(bias.to(dtype))
        layer.add_module(norm, nn.Identity())


def _stage(in_channels: int, planes: int, blocks: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """A stage of bottlenecks; the first of a dilated stage, which replaces the strided one, has half its dilation."""
    first = Bottleneck(in_channels, planes, stride, dilation=max(1, dilation // 2))
    rest = [Bottleneck(4 * planes, planes, dilation=dilation) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)
