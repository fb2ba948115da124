"""Write a network as one file for another runtime. The file is read again and compared with the network.

lama export model.path=big-lama format=torchscript out=big-lama.pt
lama export model.path=runs/demo format=onnx out=demo.onnx
lama export model.path=runs/demo format=onnx out=dft.onnx fft=native        # with the DFT operator: ONNX Runtime alone
lama export model.path=runs/demo format=pt2 out=demo.pt2 pre_post=false     # the network alone
lama export model.path=big-lama format=onnx out=half.onnx half=true         # float16, half the size
"""

from lama.config import flag, read


def main(arguments: list[str]) -> None:
    config = read(arguments, str(__doc__), "export", paths=("model.path", "out"), short={"model": "model.path"})
    from lama.export import export_model

    export_model(
        model=str(config.model.path),
        format=str(config.format),
        out=str(config.out),
        pre_post=flag(config, "pre_post"),
        fft=str(config.fft),
        half=flag(config, "half"),
        overwrite=flag(config, "overwrite"),
        say=print,
    )
