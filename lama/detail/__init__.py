"""Detail for a filled hole: its colours come from a network's result, its texture from the photograph around it."""

from lama.detail.detailed import Detailed
from lama.detail.kernel import can_compile
from lama.detail.synthesize import synthesize

__all__ = ["Detailed", "can_compile", "synthesize"]
