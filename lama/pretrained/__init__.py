"""Released files: networks of LaMa by name, and the frozen networks of losses and metrics, fetched once and checked."""

from lama.pretrained.encoders import (
    MissingWeightsError,
    find,
    how_to_get,
    is_published,
    load_into,
    read_state_dict,
    require,
)
from lama.pretrained.networks import here, nearest_names, not_read, released
from lama.pretrained.places import cache_dir
from lama.pretrained.table import CITATION, NETWORKS, SMALL, WEIGHT_FILES, ReleasedFile, ReleasedNetwork

__all__ = [
    "CITATION", "NETWORKS", "SMALL", "WEIGHT_FILES", "MissingWeightsError", "ReleasedFile", "ReleasedNetwork",
    "cache_dir", "find", "here", "how_to_get", "is_published", "load_into", "nearest_names", "not_read",
    "read_state_dict", "released", "require",
]  # fmt: skip
