"""Check a GPU on its first day: is it right, how fast is it, how much memory does it take?

lama gpu-check                              # minutes; writes gpu_check/report.html and report.json
lama gpu-check device=cpu size=small        # rehearse the check itself, without a GPU

Exits with 1 if something failed; the report names it.
"""

import sys

from lama.config import read


def main(arguments: list[str]) -> None:
    config = read(arguments, str(__doc__), "gpu_check", paths=["out"])
    from lama.gpu_check import gpu_check

    failed = gpu_check(config.device, config.size, config.out)
    print(f"report: {config.out}/report.html")
    for name in failed:
        print(f"failed: {name}")
    sys.exit(1 if failed else 0)
