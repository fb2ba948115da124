"""Vision transformers in NumPy and double precision, from tensors under the names of the released files; tiny files."""

import numpy as np
from scipy.special import erf


def dinov2_state(seed=0, **sizes):
    return random_state(dinov2_shapes(**sizes), seed)


def dinov2_shapes(width=128, depth=2, grid=5, hidden=96, gated=False):
    """The names and shapes of DINOv2's files."""
    shapes = {"cls_token": (1, 1, width), "pos_embed": (1, 1 + grid * grid, width), "mask_token": (1, width)}
    shapes |= {"patch_embed.proj.weight": (width, 3, 14, 14), "patch_embed.proj.bias": (width,)}
    for i in range(depth):
        block = {"norm1.weight": (width,), "norm1.bias": (width,), "norm2.weight": (width,), "norm2.bias": (width,)}
        block |= {"attn.qkv.weight": (3 * width, width), "attn.qkv.bias": (3 * width,)}
        block |= {"attn.proj.weight": (width, width), "attn.proj.bias": (width,)}
        block |= {"ls1.gamma": (width,), "ls2.gamma": (width,)}
        first, second = ("w12", "w3") if gated else ("fc1", "fc2")
        rows = 2 * hidden if gated else hidden
        block |= {f"mlp.{first}.weight": (rows, width), f"mlp.{first}.bias": (rows,)}
        block |= {f"mlp.{second}.weight": (width, hidden), f"mlp.{second}.bias": (width,)}
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in block.items()}
    return shapes | {"norm.weight": (width,), "norm.bias": (width,)}


def clip_state(seed=0, **sizes):
    return random_state(clip_shapes(**sizes), seed)


def clip_shapes(width=128, depth=2, grid=2, out=16):
    """The names and shapes of OpenAI's CLIP, with one of its text half."""
    shapes = {"class_embedding": (width,), "positional_embedding": (1 + grid * grid, width), "proj": (width, out)}
    shapes |= {"conv1.weight": (width, 3, 14, 14)}
    shapes |= {f"ln_{place}.{kind}": (width,) for place in ("pre", "post") for kind in ("weight", "bias")}
    for i in range(depth):
        block = {f"ln_{n}.{kind}": (width,) for n in (1, 2) for kind in ("weight", "bias")}
        block |= {"attn.in_proj_weight": (3 * width, width), "attn.in_proj_bias": (3 * width,)}
        block |= {"attn.out_proj.weight": (width, width), "attn.out_proj.bias": (width,)}
        block |= {"mlp.c_fc.weight": (4 * width, width), "mlp.c_fc.bias": (4 * width,)}
        block |= {"mlp.c_proj.weight": (width, 4 * width), "mlp.c_proj.bias": (width,)}
        shapes |= {f"transformer.resblocks.{i}.{name}": shape for name, shape in block.items()}
    return {f"visual.{name}": shape for name, shape in shapes.items()} | {"text_projection": (4, 4)}


def sam_state(seed=0, **sizes):
    return random_state(sam_shapes(**sizes), seed)


def sam_shapes(width=32, head=16, grid=4, windows=(3, 4), hidden=48, neck=8):
    """The names and shapes of SAM's encoder, a block for each of ``windows`` (its side), and one of the decoder."""
    shapes = {"pos_embed": (1, grid, grid, width)}
    shapes |= {"patch_embed.proj.weight": (width, 3, 16, 16), "patch_embed.proj.bias": (width,)}
    for i, side in enumerate(windows):
        block = {f"norm{n}.{kind}": (width,) for n in (1, 2) for kind in ("weight", "bias")}
        block |= {f"attn.rel_pos_{axis}": (2 * side - 1, head) for axis in "hw"}
        block |= {"attn.qkv.weight": (3 * width, width), "attn.qkv.bias": (3 * width,)}
        block |= {"attn.proj.weight": (width, width), "attn.proj.bias": (width,)}
        block |= {"mlp.lin1.weight": (hidden, width), "mlp.lin1.bias": (hidden,)}
        block |= {"mlp.lin2.weight": (width, hidden), "mlp.lin2.bias": (width,)}
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in block.items()}
    shapes |= {"neck.0.weight": (neck, width, 1, 1), "neck.2.weight": (neck, neck, 3, 3)}
    shapes |= {f"neck.{n}.{kind}": (neck,) for n in (1, 3) for kind in ("weight", "bias")}
    shapes = {f"image_encoder.{name}": shape for name, shape in shapes.items()}
    return shapes | {"mask_decoder.iou_token.weight": (1, 8)}


def random_state(shapes, seed):
    rng = np.random.default_rng(seed)
    return {name: _random(rng, name, shape) for name, shape in shapes.items()}


def _random(rng, name, shape):
    values = rng.standard_normal(shape)
    if len(shape) == 1 and name.endswith("weight"):  # of a norm
        return (1 + 0.2 * values).astype(np.float32)
    if "pos" in name.split(".")[-1]:  # small: the image decides, not the place
        return (0.02 * values).astype(np.float32)
    scale = 0.1 if len(shape) == 1 else 1.5 / np.prod(shape[1:]) ** 0.5
    return (scale * values).astype(np.float32)


def dinov2_tokens(state, image, offset=0.0):
    """DINOv2's normalised tokens (1 + N, D) of one image (3, 14 n, 14 n), the class token first."""
    state = _doubles(state)
    side = image.shape[1] // 14
    positions = state["pos_embed"][0]
    n = round((len(positions) - 1) ** 0.5)
    grid = bicubic(positions[1:].reshape(n, n, -1), side, (side + offset) / n)
    patches = _patches(image, 14) @ state["patch_embed.proj.weight"].reshape(len(positions[0]), -1).T
    patches = patches + state["patch_embed.proj.bias"] + grid.reshape(side * side, -1)
    x = np.concatenate([state["cls_token"][0] + positions[:1], patches])
    for i in range(_depth(state, "blocks.")):
        block = _below(state, f"blocks.{i}.")
        y = _norm(x, block, "norm1", 1e-6)
        y = _attention(y, block["attn.qkv.weight"], block["attn.qkv.bias"], max(1, x.shape[1] // 64))
        x = x + block["ls1.gamma"] * _linear(y, block, "attn.proj")
        y = _norm(x, block, "norm2", 1e-6)
        if "mlp.w12.weight" in block:
            gate, value = np.split(_linear(y, block, "mlp.w12"), 2, axis=1)
            y = _linear(gate / (1 + np.exp(-gate)) * value, block, "mlp.w3")
        else:
            y = _linear(_gelu(_linear(y, block, "mlp.fc1")), block, "mlp.fc2")
        x = x + block["ls2.gamma"] * y
    return _norm(x, state, "norm", 1e-6)


def clip_embedding(state, image):
    """CLIP's embedding (D,) of one image (3, 14 n, 14 n), not scaled."""
    state = _below(_doubles(state), "visual.")
    x = _patches(image, 14) @ state["conv1.weight"].reshape(len(state["class_embedding"]), -1).T
    x = np.concatenate([state["class_embedding"][None], x]) + state["positional_embedding"]
    x = _norm(x, state, "ln_pre", 1e-5)
    for i in range(_depth(state, "transformer.resblocks.")):
        block = _below(state, f"transformer.resblocks.{i}.")
        y = _norm(x, block, "ln_1", 1e-5)
        y = _attention(y, block["attn.in_proj_weight"], block["attn.in_proj_bias"], max(1, x.shape[1] // 64))
        x = x + _linear(y, block, "attn.out_proj")
        y = _linear(_norm(x, block, "ln_2", 1e-5), block, "mlp.c_fc")
        x = x + _linear(y / (1 + np.exp(-1.702 * y)), block, "mlp.c_proj")
    return _norm(x[0], state, "ln_post", 1e-5) @ state["proj"]


def sam_features(state, image):
    """SAM's features (C, n, n) of one image (3, 16 n, 16 n)."""
    state = _below(_doubles(state), "image_encoder.")
    n, width = image.shape[1] // 16, len(state["patch_embed.proj.bias"])
    x = _patches(image, 16) @ state["patch_embed.proj.weight"].reshape(width, -1).T + state["patch_embed.proj.bias"]
    x = x.reshape(n, n, width) + state["pos_embed"][0]
    for i in range(_depth(state, "blocks.")):
        block = _below(state, f"blocks.{i}.")
        side = (len(block["attn.rel_pos_h"]) + 1) // 2
        x = x + _windowed_attention(_norm(x, block, "norm1", 1e-6), block, side)
        x = x + _linear(_gelu(_linear(_norm(x, block, "norm2", 1e-6), block, "mlp.lin1")), block, "mlp.lin2")
    x = _norm(x @ state["neck.0.weight"][:, :, 0, 0].T, state, "neck.1", 1e-6)
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    x = sum(padded[i : i + n, j : j + n] @ state["neck.2.weight"][:, :, i, j].T for i in range(3) for j in range(3))
    return _norm(x, state, "neck.3", 1e-6).transpose(2, 0, 1)


def _windowed_attention(x, block, side):
    n, _, width = x.shape
    padded = -(-n // side) * side
    x = np.pad(x, ((0, padded - n), (0, padded - n), (0, 0)))
    out = np.empty_like(x)
    for i in range(0, padded, side):
        for j in range(0, padded, side):
            window = x[i : i + side, j : j + side].reshape(side * side, width)
            bias = block["attn.rel_pos_h"], block["attn.rel_pos_w"]
            heads = width // bias[0].shape[1]
            y = _attention(window, block["attn.qkv.weight"], block["attn.qkv.bias"], heads, bias)
            out[i : i + side, j : j + side] = _linear(y, block, "attn.proj").reshape(side, side, width)
    return out[:n, :n]


def _attention(x, weight, bias, heads, relative=None):
    """Self-attention over (N, D) without its last projection; ``relative``: SAM's tables of relative positions."""
    width = x.shape[1]
    q, k, v = (part.reshape(len(x), heads, -1) for part in np.split(x @ weight.T + bias, 3, axis=1))
    out = np.empty((len(x), heads, width // heads))
    for h in range(heads):
        logits = q[:, h] @ k[:, h].T / (width // heads) ** 0.5
        if relative is not None:
            side = round(len(x) ** 0.5)
            row, column = np.divmod(np.arange(len(x)), side)
            for table, place in zip(relative, (row, column), strict=True):
                logits = logits + np.einsum("ic,ijc->ij", q[:, h], table[place[:, None] - place + side - 1])
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        out[:, h] = weights / weights.sum(axis=1, keepdims=True) @ v[:, h]
    return out.reshape(len(x), width)


def bicubic(grid, side, factor):
    """(n, n, D) -> (side, side, D) by cubic convolution with a = -0.75, the border repeated."""
    n = len(grid)
    if n == side:
        return grid
    weights = np.zeros((side, n))
    for i in range(side):
        place = (i + 0.5) / factor - 0.5
        for j in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            weights[i, min(max(j, 0), n - 1)] += _cubic(abs(place - j))
    return np.einsum("ia,jb,abd->ijd", weights, weights, grid)


def _cubic(t, a=-0.75):
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def _patches(image, size):
    """(3, n size, n size) -> (n^2, 3 size^2)."""
    n = image.shape[1] // size
    return image.reshape(3, n, size, n, size).transpose(1, 3, 0, 2, 4).reshape(n * n, -1)


def _norm(x, state, name, eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt(centred.var(axis=-1, keepdims=True) + eps)
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def _linear(x, state, name):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def _gelu(x):
    return x * (1 + erf(x / 2**0.5)) / 2


def _doubles(state):
    return {name: np.asarray(values, np.float64) for name, values in state.items()}


def _below(state, prefix):
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _depth(state, prefix):
    return 1 + max(int(name.removeprefix(prefix).partition(".")[0]) for name in state if name.startswith(prefix))
