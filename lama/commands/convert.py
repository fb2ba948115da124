"""Write a model in another layout: ours (one .safetensors file) or the official one (a folder).

lama convert src=big-lama dst=big-lama.safetensors
lama convert src=runs/demo dst=converted                              # config.yaml and models/best.ckpt
lama convert src=runs/demo/checkpoints/last.ckpt dst=full discriminator=true
"""

from pathlib import Path

from lama.config import flag, read


def main(arguments: list[str]) -> None:
    config = read(arguments, str(__doc__), "convert")
    source, target = str(config.src), Path(str(config.dst))
    flags = [flag(config, key) for key in ("discriminator", "overwrite", "half")]
    from lama.checkpoints import convert

    print("\n".join(convert(source, target, *flags)))
