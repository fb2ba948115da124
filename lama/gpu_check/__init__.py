"""One command for the first day with a GPU: is it right, how fast is it, and does memory agree with the estimate?"""

from lama.gpu_check.check import gpu_check

__all__ = ["gpu_check"]
