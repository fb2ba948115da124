"""The folder of the configurations that come with this package."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel the configurations are inside the package, in a clone next to it.
CONFIGS = next(path for path in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if path.is_dir())
