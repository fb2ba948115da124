"""The layout of the official releases: a folder with ``config.yaml`` and ``models/best.ckpt``, both ways.

The architecture is inferred from the weights. Only the configuration's section ``generator`` is compared with them.
"""

import re
import zipfile
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from lama.checkpoints.architecture import Description
from lama.files import atomic_write

_KINDS = {
    "ffc_resnet": "FFCResNetGenerator",
    "pix2pixhd_global": "ResNetGenerator",
    "pix2pixhd_multidilated": "DilatedResNetGenerator",
}
_SAME = ("input_nc", "output_nc", "ngf", "n_downsampling", "n_blocks", "max_features")  # named alike there and here
_DEFAULTS = {"ngf": 64, "n_downsampling": 3, "n_blocks": 9, "max_features": 1024, "add_out_act": True}
# The settings of the official configuration that these networks support, each with its only value.
_ONLY: dict[str, dict[str, Any]] = {
    "": {
        "add_out_act": "sigmoid", "padding_type": "reflect", "conv_kind": "default", "out_ffc": False,
        "norm_layer": "bn", "deconv_kind": "convtranspose", "is_resblock_depthwise": False, "dilated_blocks_n": 0,
        "ffc_positions": None, "spatial_transform_layers": None,
    },
    "init_conv_kwargs": {"ratio_gin": 0, "ratio_gout": 0, "enable_lfu": False},
    "downsample_conv_kwargs": {"ratio_gin": 0, "ratio_gout": 0, "enable_lfu": False},
    "resnet_conv_kwargs": {},
    "multidilation_kwargs": {
        "comb_mode": "cat_in", "equal_dim": True, "shared_weights": False, "padding": 1, "min_dilation": 1,
        "shuffle_in_channels": False, "use_depthwise": False,
    },
}  # fmt: skip
_FREE = {"": ("kind", *_SAME), "resnet_conv_kwargs": ("ratio_gin", "ratio_gout", "enable_lfu"),
         "multidilation_kwargs": ("dilation_num",)}  # fmt: skip


def read_config(file: Path | zipfile.Path) -> Description | None:
    """Class and arguments of the generator that a training's ``config.yaml`` describes; None without a file.

    Reads the official configurations and our own. Raises ValueError, in one line, for a file that cannot be read and
    for settings that these networks do not support.
    """
    if not file.is_file():
        return None
    try:
        section = yaml.safe_load(file.read_text(encoding="utf-8"))["generator"]
        kind = section.get("kind") or re.sub(r"^lama\..*\.", "", section["_target_"])
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{file}: not the config.yaml of a training, which has a section generator ({type(error).__name__}); "
            "repair it, or remove it: the weights suffice"
        ) from error
    if "_target_" in section:
        return kind, {key: value for key, value in section.items() if key not in ("_target_", "smooth_init")}
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"{file}: generator.kind={kind} is unknown; known: {', '.join(_KINDS)}")
    section = _DEFAULTS | ({"n_blocks": 3} if kind == "pix2pixhd_multidilated" else {}) | section
    _check_section(file, section, "")
    config = {key: section[key] for key in _SAME if key in section}
    blocks = section.get("resnet_conv_kwargs") or {}
    if kind == "ffc_resnet" and not isinstance(blocks.get("ratio_gin"), str):  # a str refers to another key
        config["ratio"] = blocks.get("ratio_gin", 0)
    if kind == "ffc_resnet":
        config["enable_lfu"] = blocks.get("enable_lfu", True) is True  # the official default is on
    if kind == "pix2pixhd_multidilated":
        dilations = {"comb_mode": "sum", "dilation_num": 3} | (section.get("multidilation_kwargs") or {})
        _check_section(file, dilations, "multidilation_kwargs")
        config["n_dilations"] = dilations["dilation_num"]
    return _KINDS[kind], config


def _check_section(file: Path | zipfile.Path, section: Any, name: str) -> None:
    """Raise ValueError for a setting that these networks do not support."""
    prefix = f"generator.{name}".rstrip(".")
    if not isinstance(section, dict):
        raise ValueError(f"{file}: {prefix}: expected settings, got {section!r}")
    for key, value in section.items():
        if not name and key in _ONLY:
            _check_section(file, value or {}, key)
        elif key in _ONLY[name]:
            if value != _ONLY[name][key] and not str(value).startswith("${"):  # a reference to another key
                raise ValueError(f"{file}: {prefix}.{key}={value}: expected {_ONLY[name][key]}")
        elif key not in _FREE.get(name, ()):
            raise ValueError(f"{file}: {prefix}.{key}={value}: it is not supported")


def save_official(folder: str | Path, generator: nn.Module, discriminator: nn.Module | None = None) -> None:
    """Write ``config.yaml`` and ``models/best.ckpt`` into ``folder``. Raises ValueError for an unknown generator."""
    if type(generator).__name__ not in _KINDS.values():
        raise ValueError(f"{folder}: the official layout has no {type(generator).__name__}; write a .safetensors file")
    folder, config = Path(folder), _config(generator, discriminator)
    state = {f"generator.{key}": value for key, value in generator.state_dict().items()}
    if discriminator is not None:
        state |= {f"discriminator.{key}": value for key, value in discriminator.state_dict().items()}
    with atomic_write(folder / "models" / "best.ckpt") as partial:
        torch.save({"state_dict": state, "epoch": 0, "global_step": 0}, partial)
    with atomic_write(folder / "config.yaml") as partial:
        partial.write_text(_HEADER + yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


_HEADER = """\
# For the official code to use this model. The sections generator and discriminator describe models/best.ckpt; the
# other sections hold the published values and are no record of the training of this model.
"""


def _config(generator: nn.Module, discriminator: nn.Module | None) -> dict[str, Any]:
    discriminator_config: Any = {} if discriminator is None else discriminator.config
    return {
        "run_title": "lama",
        "training_model": {
            "kind": "default",
            "visualize_each_iters": 1000,
            "concat_mask": True,
            "store_discr_outputs_for_vis": True,
        },
        "losses": {
            "l1": {"weight_missing": 0, "weight_known": 10},
            "perceptual": {"weight": 0},
            "adversarial": {
                "kind": "r1", "weight": 10, "gp_coef": 0.001, "mask_as_fake_target": True, "allow_scale_mask": True,
            },
            "feature_matching": {"weight": 100},
            "resnet_pl": {"weight": 30, "weights_path": "."},
        },
        "generator": _generator_section(generator),
        "discriminator": {"kind": "pix2pixhd_nlayer"}
        | ({"input_nc": 3, "ndf": 64, "n_layers": 4} | discriminator_config),
        "optimizers": {"generator": {"kind": "adam", "lr": 0.001}, "discriminator": {"kind": "adam", "lr": 0.0001}},
        "visualizer": {"kind": "noop"},
        "evaluator": {"kind": "default", "inpainted_key": "inpainted", "integral_kind": "ssim_fid100_f1"},
        "data": {},
    }  # fmt: skip


def _generator_section(generator: nn.Module) -> dict[str, Any]:
    config: Any = generator.config
    name = type(generator).__name__
    if config.get("upsampling", "transposed") != "transposed":
        raise ValueError(f"the official code has no upsampling={config['upsampling']}; give dst=FILE.safetensors")
    section: dict[str, Any] = {
        "kind": next(kind for kind, known in _KINDS.items() if known == name),
        "add_out_act": "sigmoid",
    }
    section |= {key: config[key] for key in _SAME}
    if name == "FFCResNetGenerator":
        plain = {"ratio_gin": 0, "ratio_gout": 0, "enable_lfu": False}
        blocks = {"ratio_gin": config["ratio"], "ratio_gout": config["ratio"], "enable_lfu": config["enable_lfu"]}
        section |= {"init_conv_kwargs": plain, "downsample_conv_kwargs": dict(plain), "resnet_conv_kwargs": blocks}
    if name == "ResNetGenerator":
        section |= {"conv_kind": "default"}
    if name == "DilatedResNetGenerator":
        section |= {"multidilation_kwargs": {"comb_mode": "cat_in", "dilation_num": config["n_dilations"]}}
    return section
