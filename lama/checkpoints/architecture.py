"""The class and arguments of a network of LaMa, inferred from the names and shapes of its weights."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

import lama.models
from lama import plugins

Shapes = Mapping[str, tuple[int, ...]]
Description = tuple[str, dict[str, Any]]  # class name in lama.models, constructor arguments

KNOWN: dict[str, Description] = {  # configurations of training and the networks they train
    "lama-fourier": ("FFCResNetGenerator", {"n_blocks": 9, "ngf": 64}),
    "big-lama": ("FFCResNetGenerator", {"n_blocks": 18, "ngf": 64}),
    "lama-fourier-shallow": ("FFCResNetGenerator", {"n_blocks": 6, "ngf": 64}),
    "lama-regular": ("ResNetGenerator", {"n_blocks": 9, "ngf": 64}),
    "big-lama-regular": ("ResNetGenerator", {"n_blocks": 15, "ngf": 64}),
    "lama-dilated": ("DilatedResNetGenerator", {"n_blocks": 9, "ngf": 64}),
}
INFERRED = {name for name, _ in KNOWN.values()}  # the classes that ``infer_generator`` recognises


def infer_generator(shapes: Shapes) -> Description:
    """Class and arguments of the generator with these keys and shapes. Raises ValueError if it is no LaMa generator."""
    try:
        if "model.1.ffc.convl2l.weight" in shapes:
            return _infer_ffc(shapes)
        return _infer_resnet(shapes)
    except (KeyError, IndexError, ValueError, ZeroDivisionError):
        raise ValueError("expected the weight names of a generator of LaMa, got others") from None


def _sane(config: dict[str, Any]) -> dict[str, Any]:
    """Raise ValueError for sizes far beyond any network of LaMa, before it is built."""
    if not 1 <= config.get("n_blocks", 1) <= 1000 or not 1 <= config.get("n_downsampling", 1) <= 8:
        raise ValueError(f"no network of LaMa has {config}")
    if not 1 <= config.get("n_layers", 1) <= 12 or not 1 <= config.get("input_nc", 1) <= 64:
        raise ValueError(f"no network of LaMa has {config}")
    return config


def infer_discriminator(shapes: Shapes) -> Description:
    """Class and arguments of the discriminator with these keys and shapes. Raises ValueError if it is none."""
    levels = [int(match[1]) for match in (re.match(r"model(\d+)\.0\.weight$", key) for key in shapes) if match]
    if len(levels) < 3:
        raise ValueError("expected the weight names of a PatchGAN discriminator, got others")
    ndf, input_nc = shapes["model0.0.weight"][:2]
    return "PatchDiscriminator", {"input_nc": input_nc, "ndf": ndf, "n_layers": max(levels) - 1}


def _infer_ffc(shapes: Shapes) -> Description:
    ngf, input_nc = shapes["model.1.ffc.convl2l.weight"][:2]
    blocks = _indices(shapes, r"model\.(\d+)\.conv1\.")
    n_downsampling = blocks[0] - 2
    last = f"model.{blocks[0] - 1}.ffc."
    global_out = shapes[f"{last}convl2g.weight"][0]
    local_out = shapes[f"{last}convl2l.weight"][0] if f"{last}convl2l.weight" in shapes else 0
    config = _common(shapes, ngf, input_nc, n_downsampling, len(blocks), local_out + global_out)
    config["ratio"] = _ratio(global_out, local_out + global_out)
    config["enable_lfu"] = f"model.{blocks[0]}.conv1.ffc.convg2g.lfu.conv_layer.weight" in shapes
    up = shapes.get(f"model.{blocks[-1] + 2}.weight", (1, 1))  # a transposed convolution names its input channels first
    config["upsampling"] = "resize" if up[0] < up[1] else "transposed"
    return "FFCResNetGenerator", config


def _infer_resnet(shapes: Shapes) -> Description:
    ngf, input_nc = shapes["model.1.weight"][:2]
    blocks = _indices(shapes, r"model\.(\d+)\.conv_block\.")
    n_downsampling = (blocks[0] - 4) // 3
    config = _common(shapes, ngf, input_nc, n_downsampling, len(blocks), shapes[f"model.{blocks[0] - 3}.weight"][0])
    dilations = _indices(shapes, rf"model\.{blocks[0]}\.conv_block\.0\.convs\.(\d+)\.weight")
    if dilations:
        return "DilatedResNetGenerator", config | {"n_dilations": len(dilations)}
    return "ResNetGenerator", config


def _common(shapes: Shapes, ngf: int, input_nc: int, n_downsampling: int, n_blocks: int, widest: int) -> dict[str, Any]:
    head = max(_indices(shapes, r"model\.(\d+)\."))  # the last layer with weights makes the image
    return {
        "input_nc": input_nc,
        "output_nc": shapes[f"model.{head}.weight"][0],
        "ngf": ngf,
        "n_downsampling": n_downsampling,
        "n_blocks": n_blocks,
        "max_features": 1024 if widest == min(1024, ngf * 2**n_downsampling) else widest,
    }


def _indices(shapes: Shapes, pattern: str) -> list[int]:
    return sorted({int(match[1]) for match in (re.match(pattern, key) for key in shapes) if match})


def _ratio(global_channels: int, channels: int) -> float:
    """A ratio with int(channels * ratio) == global_channels, in spite of rounding."""
    ratio = global_channels / channels
    return ratio if int(channels * ratio) == global_channels else (global_channels + 0.5) / channels


def build(role: str, name: str, config: dict[str, Any]) -> nn.Module:
    """The network ``name`` with arguments ``config``, without memory for weights; ValueError for other names.

    A name with a dot is a class of a user's package; NotUsedError if the user has not named that package.
    """
    known = lama.models.GENERATORS if role == "generator" else ("PatchDiscriminator",)
    if name not in known and not plugins.could_be(name):
        raise ValueError(f"unknown network {name!r}, known: {', '.join(known)}")
    kind = getattr(lama.models, name) if name in known else plugins.find(name)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):  # a file may name any function
        raise ValueError(f"{name}: not a network")
    with torch.device("meta"):
        network: nn.Module = kind(**_sane(config))
    return network


def mismatch(network: nn.Module, shapes: Shapes) -> str | None:
    """The first difference between ``shapes`` and the shapes of ``network``, in words; None if they are equal."""
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    missing, extra = sorted(expected.keys() - shapes.keys()), sorted(shapes.keys() - expected.keys())
    other = sorted(key for key in expected.keys() & shapes.keys() if expected[key] != tuple(shapes[key]))
    if other:
        first = other[0]
        return f"{len(other)} weights of another shape, first {first}: expected {expected[first]}, got {shapes[first]}"
    if missing:
        return f"{len(missing)} weights missing, first {missing[0]}"
    return f"{len(extra)} weights too many, first {extra[0]}" if extra else None


def differences(description: Description, expected: Description) -> str:
    """How a network differs from the one expected, in words: ``n_blocks 18 instead of 9``; empty if it does not."""
    (name, config), (expected_name, expected_config) = description, expected
    if name != expected_name:
        return f"a {name} instead of a {expected_name}"
    role = "generator" if name in lama.models.GENERATORS else "discriminator"
    shapes = [
        {key: value.shape for key, value in build(role, name, arguments).state_dict().items()}
        for arguments in (config, {**config, **expected_config})
    ]
    if shapes[0] == shapes[1]:  # ratio 0.3 and 0.298828125 split 512 channels alike
        return ""
    return ", ".join(
        f"{key} {config[key]} instead of {value}"
        for key, value in expected_config.items()
        if key in config and config[key] != value
    )


def looks_like(description: Description) -> str:
    """The training configuration that builds this network, or an empty string."""
    name, config = description
    standard = {"n_downsampling": 3, "ratio": 0.75, "enable_lfu": False, "n_dilations": 4}
    if any(config.get(key, value) != value for key, value in standard.items()):
        return ""
    for title, (known_name, known_config) in KNOWN.items():
        if name == known_name and all(config.get(key) == value for key, value in known_config.items()):
            return title
    return ""
