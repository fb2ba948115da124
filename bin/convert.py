"""Write a model in another layout: ours (one .safetensors) or the official one (a folder).

python bin/convert.py src=big-lama dst=big-lama.safetensors
python bin/convert.py src=runs/demo dst=converted                              # config.yaml and models/best.ckpt
python bin/convert.py src=runs/demo/checkpoints/last.ckpt dst=full discriminator=true
"""

from pathlib import Path

from omegaconf import DictConfig

from lama.config import flag, run


def main(config: DictConfig) -> None:
    from lama.checkpoints import convert

    flags = (flag(config, key) for key in ("discriminator", "overwrite", "half"))
    print("\n".join(convert(str(config.src), Path(str(config.dst)), *flags)))


if __name__ == "__main__":
    run(main, "convert", "default")
