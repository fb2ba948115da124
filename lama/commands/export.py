"""Write a network as one file for another runtime, or as a page. The file is read again and compared with the network.

lama export model.path=big-lama format=torchscript out=big-lama.pt
lama export model.path=runs/demo format=onnx out=demo.onnx
lama export model.path=runs/demo format=onnx out=dft.onnx fft=native        # with the DFT operator: ONNX Runtime alone
lama export model.path=runs/demo format=pt2 out=demo.pt2 pre_post=false     # the network alone
lama export model.path=big-lama format=onnx out=half.onnx half=true         # float16, half the size
lama export model.path=big-lama format=onnx out=int8.onnx int8=true         # weights in 8 bits, a quarter of the size
lama export format=darktable out=erase-lama-small.dtmodel                   # a model package of darktable 5.6
lama export format=web out=page int8=true                                   # a page that computes in the browser
"""

from lama.config import flag, nearest, read


def main(arguments: list[str]) -> None:
    config = read(arguments, str(__doc__), "export", paths=("model.path", "out"), short={"model": "model.path"})
    model, out, overwrite = str(config.model.path), str(config.out), flag(config, "overwrite")
    if config.format == "web":
        from lama.browser import write_page

        runtime = None if config.runtime is None else str(config.runtime)
        write_page(
            model, out, runtime=runtime, webgpu=flag(config, "webgpu"), int8=flag(config, "int8"), overwrite=overwrite,
            say=print,
        )  # fmt: skip
        return
    from lama.export.model import FORMATS, export_model

    known = (*FORMATS, "web")
    if config.format not in FORMATS:
        raise ValueError(f"format={config.format}: expected one of {', '.join(known)}{nearest(config.format, known)}")
    export_model(
        model=model,
        format=str(config.format),
        out=out,
        pre_post=flag(config, "pre_post"),
        fft=str(config.fft),
        half=flag(config, "half"),
        int8=flag(config, "int8"),
        overwrite=overwrite,
        say=print,
    )
