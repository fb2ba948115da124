"""Write a model as TorchScript, ONNX or pt2: `python bin/export.py --help`."""

from lama.commands import run_verb

if __name__ == "__main__":
    run_verb("export")
