"""CLAHE (Zuiderveld 1994) of a batch on its device, with a limit for each image: the algorithm of OpenCV.

kornia's takes one limit for all images and sends tensors to the device, for which the host waits; it also blends the
tiles half a pixel elsewhere.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

TILES = 8  # in both directions
LEVELS = 256


def equalise(levels: Tensor, limit: Tensor) -> Tensor:
    """``cv2.createCLAHE(limit, (8, 8))`` of each image: whole levels 0 to 255, float32 (B, H, W); ``limit`` (B,)."""
    height, width = levels.shape[1:]
    if height % TILES or width % TILES:  # OpenCV extends both sides then
        levels_of_tiles = F.pad(levels[:, None], (0, TILES - width % TILES, 0, TILES - height % TILES), "reflect")[:, 0]
    else:
        levels_of_tiles = levels
    tall, wide = (side // TILES for side in levels_of_tiles.shape[1:])
    tiles = levels_of_tiles.reshape(-1, TILES, tall, TILES, wide).permute(0, 1, 3, 2, 4).flatten(3).flatten(1, 2)
    counts = torch.zeros(*tiles.shape[:2], LEVELS, device=levels.device)
    counts.scatter_add_(2, tiles.long(), torch.ones_like(tiles))
    most = (limit * (tall * wide / LEVELS)).floor().clamp(min=1)[:, None, None]
    tables = (_limited(counts, most).cumsum(2) * (255 / (tall * wide))).round().clamp(0, 255)
    return _blended(tables.flatten(1), levels, tall, wide).round()


def _limited(counts: Tensor, most: Tensor) -> Tensor:
    """Histograms cut at ``most``; what is cut is spread evenly, and its rest over levels at equal steps."""
    excess = (counts - most).clamp(min=0).sum(dim=2, keepdim=True)
    share = (excess / LEVELS).floor()
    rest = excess - LEVELS * share
    step = (LEVELS / rest.clamp(min=1)).floor()
    level = torch.arange(LEVELS, device=counts.device)
    gets_one = (level % step == 0) & (level < rest * step)
    return torch.minimum(counts, most) + share + gets_one


def _blended(tables: Tensor, levels: Tensor, tall: int, wide: int) -> Tensor:
    """Each level looked up in the tables (B, 64 * 256) of the four nearest tiles, bilinearly."""
    height, width = levels.shape[1:]
    y = torch.arange(height, device=levels.device)[:, None] / tall - 0.5
    x = torch.arange(width, device=levels.device) / wide - 0.5
    above, left = y.floor(), x.floor()
    made = torch.zeros_like(levels)
    for tile_y, share_y in ((above, 1 - (y - above)), (above + 1, y - above)):
        for tile_x, share_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            tile = tile_y.clamp(0, TILES - 1) * TILES + tile_x.clamp(0, TILES - 1)
            place = (tile * LEVELS + levels).long().flatten(1)
            made += tables.gather(1, place).view_as(levels) * share_y * share_x
    return made
