"""Vision transformers of metrics, from the package ``timm``, filled from the files that their authors released.

The size of a network (width, depth, heads, patches) is read from its file, so a smaller one of the same kind, given by
its path, can be used. A metric whose published file has no known sha256 has to check the size itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lama import pretrained
from lama.checkpoints.archive import read_archive

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PATCH = 14  # pixels, of DINOv2
HEAD = 64  # channels of an attention head of DINOv2 and CLIP
State = dict[str, Tensor]


class MissingPackageError(ImportError):
    """A metric needs a package of the extra ``judge``."""


def normalised(image: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(x - mean) / std by channel of (B, 3, H, W)."""
    return (image - image.new_tensor(mean).view(3, 1, 1)) / image.new_tensor(std).view(3, 1, 1)


def dinov2(name: str, file: Path, side: int, offset: float = 0.0) -> Any:
    """DINOv2 (Oquab et al., TMLR 2024) for images of ``side`` x ``side`` patches of 14 pixels, frozen.

    ``forward_features``: (B, 3, 14 side, 14 side), normalised for ImageNet -> (B, 1 + side^2, D), the class token
    first, after the last norm. The position embedding is resized by bicubic interpolation: to ``side``, as the package
    ``transformers`` does, or with ``offset`` 0.1 by the factor (side + 0.1) / (its side), as the authors' code does.
    Raises ValueError for a file of another network.
    """
    timm, state = _timm(), _read(name, file, "")
    with _checked(name, file):
        positions = state["pos_embed"]
        state["pos_embed"] = torch.cat([positions[:, :1], _resized(positions[:, 1:], side, offset)], dim=1)
        gated = "blocks.0.mlp.w12.weight" in state  # the giant network
        width = positions.shape[2]
        hidden = len(state["blocks.0.mlp.w12.bias" if gated else "blocks.0.mlp.fc1.bias"])
        options = {"mlp_layer": timm.layers.SwiGLUPacked, "act_layer": nn.SiLU} if gated else {}
        make = partial(
            timm.models.vision_transformer.VisionTransformer, img_size=PATCH * side, patch_size=PATCH,
            embed_dim=width, depth=_depth(state, "blocks."), num_heads=max(1, width // HEAD),
            mlp_ratio=(hidden + 0.5) / width, init_values=1e-5, num_classes=0, **options,
        )  # fmt: skip
        return _filled(make, state, timm.models.vision_transformer.checkpoint_filter_fn)


def clip(name: str, file: Path) -> tuple[Any, int]:
    """The image half of OpenAI's CLIP (Radford et al., ICML 2021), frozen, and the side of its input in pixels.

    The network: (B, 3, side, side), normalised with CLIP's mean and deviation -> (B, D), the projected class token.
    Raises ValueError for a file of another network.
    """
    timm, state = _timm(), _read(name, file, "visual.")
    with _checked(name, file):
        width, _, patch, _ = state["visual.conv1.weight"].shape
        side = patch * round((len(state["visual.positional_embedding"]) - 1) ** 0.5)
        make = partial(
            timm.models.vision_transformer.VisionTransformer, img_size=side, patch_size=patch, embed_dim=width,
            depth=_depth(state, "visual.transformer.resblocks."), num_heads=max(1, width // HEAD),
            num_classes=state["visual.proj"].shape[1], pre_norm=True, norm_layer=partial(nn.LayerNorm, eps=1e-5),
            act_layer="quick_gelu",
        )  # fmt: skip
        return _filled(make, state, timm.models.vision_transformer.checkpoint_filter_fn), side


def sam_encoder(name: str, file: Path) -> tuple[Any, int]:
    """The image encoder of Segment Anything (Kirillov et al., ICCV 2023), frozen, and the side of its input in pixels.

    ``forward_features``: (B, 3, side, side), normalised for ImageNet -> (B, 256, side / 16, side / 16). Raises
    ValueError for a file of another network.
    """
    part = "image_encoder."
    timm, state = _timm(), _read(name, file, part)
    with _checked(name, file):
        width, _, patch, _ = state[f"{part}patch_embed.proj.weight"].shape
        grid = state[f"{part}pos_embed"].shape[1]
        depth = _depth(state, f"{part}blocks.")
        reach = [state[f"{part}blocks.{i}.attn.rel_pos_h"].shape for i in range(depth)]  # (2 side - 1, head channels)
        everywhere = tuple(i for i in range(depth) if reach[i][0] == 2 * grid - 1)
        sides = {(shape[0] + 1) // 2 for i, shape in enumerate(reach) if i not in everywhere}
        make = partial(
            timm.models.vision_transformer_sam.VisionTransformerSAM, img_size=grid * patch, patch_size=patch,
            embed_dim=width, depth=depth, num_heads=width // reach[0][1], num_classes=0, use_rel_pos=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),  # as released; timm's default is 1e-5
            window_size=max(sides, default=14), global_attn_indexes=everywhere,
            mlp_ratio=(len(state[f"{part}blocks.0.mlp.lin1.bias"]) + 0.5) / width,
            neck_chans=len(state[f"{part}neck.0.weight"]),
        )  # fmt: skip
        return _filled(make, state, timm.models.vision_transformer_sam.checkpoint_filter_fn), grid * patch


def _timm() -> Any:
    import lama.torchvision_ops  # noqa: F401  isort: skip  (before timm, which imports torchvision)

    try:
        import timm.layers
        import timm.models.vision_transformer
        import timm.models.vision_transformer_sam
    except ImportError as error:
        raise MissingPackageError("timm is missing: pip install '.[judge]'") from error
    return timm


def _read(name: str, file: Path, part: str) -> State:
    """The tensors of ``file`` whose names begin with ``part``, in float32; nothing in the file is executed."""
    return {key: stored.load().float() for key, stored in read_archive(file).items() if key.startswith(part)}


@contextmanager
def _checked(name: str, file: Path) -> Iterator[None]:
    """A missing or misshapen tensor becomes a ValueError that names the file."""
    try:
        yield
    except (KeyError, RuntimeError, ValueError) as error:
        line = str(error).strip().partition("\n")[0]
        expected = pretrained.WEIGHT_FILES[name].url
        raise ValueError(f"weights.{name}: {file} is another network ({line}); expected {expected}") from error


def _depth(state: State, prefix: str) -> int:
    return 1 + max(int(key.removeprefix(prefix).partition(".")[0]) for key in state if key.startswith(prefix))


def _resized(positions: Tensor, side: int, offset: float) -> Tensor:
    """A position embedding (1, n^2, D) for ``side`` x ``side`` patches: (1, side^2, D)."""
    n = round(positions.shape[1] ** 0.5)
    if n == side:
        return positions
    grid = positions.reshape(1, n, n, -1).permute(0, 3, 1, 2)
    size: dict[str, Any] = {"scale_factor": (side + offset) / n} if offset else {"size": (side, side)}
    return F.interpolate(grid, mode="bicubic", align_corners=False, **size).permute(0, 2, 3, 1).flatten(1, 2)


def _filled(make: Callable[[], nn.Module], state: State, convert: Callable[..., State]) -> nn.Module:
    """The network with the released tensors under the names of ``timm``; every one must have its place."""
    with torch.device("meta"):  # random weights for a billion numbers would take half a minute
        network = make()
    network.load_state_dict(convert(state, network), assign=True)
    return network.eval().requires_grad_(False)
