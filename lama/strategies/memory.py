"""The memory that the computation of a window takes, and its limit."""

from dataclasses import dataclass

_IN_AND_OUT = 4 * (4 + 4 + 3 + 3)  # per pixel, float32: input and padded input, output and cropped output
_FIXED = 64 * 2**20  # work space of the libraries, for any size


@dataclass(frozen=True)
class Memory:
    """An estimate of the memory that computing ``height`` x ``width`` pixels takes, and its ``limit``; in bytes."""

    limit: int
    top: float  # per pixel, for encoder and decoder at once
    blocks: float  # per pixel, for the blocks between them
    chunk: float | None  # in all, in place of ``top``, if computed in chunks of rows; None if the network cannot

    def needs(self, height: int, width: int, chunked: bool = False, batch: int = 1) -> int:
        """Peak of one computation, without the network and the images."""
        pixels = batch * height * width
        if chunked and self.chunk is not None:
            return int(_FIXED + self.chunk + pixels * (_IN_AND_OUT + self.blocks))
        return int(_FIXED + pixels * (_IN_AND_OUT + self.blocks + self.top))

    def chunked(self, height: int, width: int) -> bool:
        """True if this size does not fit as a whole and takes less memory in chunks of rows."""
        whole = self.needs(height, width)
        return self.chunk is not None and whole > self.limit and self.needs(height, width, True) < whole

    def fits(self, height: int, width: int) -> bool:
        """True if this size can be computed under the limit, in chunks of rows if necessary."""
        return self.needs(height, width, self.chunked(height, width)) <= self.limit
