"""Write a network as one file for other runtimes; it is read again and compared with the network before it counts.

python bin/export.py model.path=big-lama format=torchscript out=big-lama.pt
python bin/export.py model.path=runs/demo format=onnx out=demo.onnx fft=matmul       # no DFT operator inside
python bin/export.py model.path=runs/demo format=pt2 out=demo.pt2 pre_post=false     # the network alone
"""

from omegaconf import DictConfig

from lama.config import flag, run


def main(config: DictConfig) -> None:
    from lama.export import export_model

    export_model(
        model=str(config.model.path),
        format=str(config.format),
        out=str(config.out),
        pre_post=flag(config, "pre_post"),
        fft=str(config.fft),
        overwrite=flag(config, "overwrite"),
        say=print,
    )


if __name__ == "__main__":
    run(main, "export", "default", paths=("model.path", "out"), short={"model": "model.path"})
