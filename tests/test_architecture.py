"""The house rules as tests: the import law, sizes of files and functions, public names and their YAMLs."""

import ast
import tomllib
from pathlib import Path

import pytest
import yaml

from lama.verbs import VERBS

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "lama").rglob("*.py"))

# layer: (layers of ours it may import, third-party packages it may import); see docs/architecture.md
LAWS = {
    "conventions": (set(), {"torch"}),
    "interfaces": (set(), {"torch", "numpy"}),
    "files": (set(), set()),
    "verbs": (set(), set()),
    "plugins": (set(), set()),
    "torchvision_ops": (set(), {"torch"}),
    "progress_bar": (set(), {"tqdm"}),
    "windows": (set(), {"numpy"}),
    "pixels": ({"windows"}, {"numpy", "PIL"}),
    "strategies": ({"pixels", "progress_bar", "windows"}, {"numpy"}),
    "machine": (set(), {"filelock", "torch"}),
    "pretrained": ({"files"}, {"torch", "tqdm", "filelock", "yaml"}),
    "pages": ({"interfaces"}, {"numpy", "PIL", "jinja2"}),
    "serving": (set(), {"starlette", "uvicorn"}),
    "models": ({"conventions"}, {"torch"}),
    "checkpoints": ({"models", "files", "plugins", "pretrained"}, {"torch", "safetensors", "yaml"}),
    "lpips_network": ({"pretrained", "torchvision_ops"}, {"torch", "lpips"}),
    "losses": ({"models", "conventions", "interfaces", "pretrained", "lpips_network"}, {"torch"}),
    "pictures": (
        {"conventions", "interfaces", "files", "pixels", "progress_bar"},
        {"torch", "numpy", "cv2", "PIL", "tifffile", "tqdm"},
    ),
    "masks": ({"conventions", "interfaces", "pictures"}, {"numpy", "cv2"}),
    "data": (
        {"verbs", "masks", "pictures", "pages", "machine", "conventions", "interfaces", "files", "torchvision_ops"},
        {"torch", "numpy", "cv2", "PIL", "albumentations", "skimage", "tqdm", "braceexpand", "kornia", "pyarrow"},
    ),
    "evaluation": (
        {"plugins", "verbs", "conventions", "interfaces", "pretrained", "lpips_network", "files", "torchvision_ops",
         "pages", "machine", "checkpoints"},
        {"torch", "numpy", "cv2", "PIL", "pytorch_fid", "skimage", "sklearn", "scipy", "matplotlib", "tqdm",
         "kornia", "timm"},
    ),
    "paper": ({"verbs", "evaluation", "pages", "files"}, {"yaml"}),
    "fast": ({"models", "conventions", "files", "machine"}, {"torch"}),
    "detail": (
        {"conventions", "interfaces", "files", "progress_bar", "fast", "machine", "pixels", "windows"},
        {"numpy", "cv2", "scipy"},
    ),
    "onnx": (
        {"detail", "machine", "pixels", "progress_bar", "strategies", "windows"},
        {"numpy", "onnxruntime", "PIL"},
    ),
    "inference": (
        {"models", "checkpoints", "fast", "detail", "machine", "conventions", "interfaces", "pixels", "progress_bar",
         "strategies", "windows"},
        {"torch", "numpy", "cv2", "PIL", "kornia"},
    ),
    "export": ({"checkpoints", "models", "conventions", "interfaces", "files"},
               {"numpy", "torch", "onnx", "onnxruntime"}),
    "browser": ({"pretrained", "checkpoints", "conventions", "export", "files"}, {"torch"}),
    "demo": (
        {"verbs", "inference", "checkpoints", "pictures", "data", "machine", "interfaces", "pages", "progress_bar",
         "pretrained", "serving"},
        {"torch", "numpy", "PIL", "starlette", "uvicorn"},
    ),
    "study": ({"data", "evaluation", "files", "interfaces", "machine", "pages", "pictures", "serving", "verbs"},
              {"cv2", "numpy", "PIL", "scipy", "starlette", "tqdm", "uvicorn"}),
    "bridges": ({"inference"}, {"PIL", "cv2", "gi", "numpy", "torch"}),
    "training": (
        {"models", "losses", "evaluation", "fast", "machine", "checkpoints", "conventions", "interfaces",
         "torchvision_ops"},
        {"torch", "pytorch_lightning"},
    ),
    "runs": (
        {"plugins", "verbs", "training", "data", "evaluation", "inference", "pictures", "checkpoints", "machine",
         "pages", "interfaces", "files", "torchvision_ops"},
        {"torch", "numpy", "tqdm", "pytorch_lightning", "yaml"},
    ),
    "project": ({"files"}, set()),
    "figures": ({"files", "interfaces", "pages", "pictures", "data", "evaluation", "inference", "runs"},
                {"numpy", "matplotlib"}),
    "publishing": ({"files", "checkpoints", "evaluation", "runs"}, {"huggingface_hub", "safetensors"}),
    "config": ({"training", "verbs", "plugins", "evaluation"}, {"hydra", "omegaconf"}),
    "bench": ({"verbs", "masks", "data", "evaluation", "conventions", "interfaces", "models", "checkpoints",
               "inference", "losses", "training", "fast", "files", "machine", "onnx", "pictures", "export"},
              {"torch", "numpy", "cv2", "scipy", "albumentations", "tqdm", "onnx", "onnxruntime", "openvino",
               "playwright", "tract"}),
    "gpu_check": ({"bench", "conventions", "data", "fast", "files", "inference", "machine", "masks", "models", "pages",
                   "training"}, {"numpy", "torch", "tqdm"}),
    "sweeps": ({"config", "verbs", "files", "machine", "runs", "evaluation", "paper", "data", "pictures", "models",
                "interfaces", "checkpoints"},
               {"torch", "numpy", "yaml", "tqdm", "skimage", "hydra", "hydra_plugins", "omegaconf", "optuna",
                "submitit"}),
    "commands": (
        {"verbs", "config", "sweeps", "bench", "runs", "training", "demo", "export", "inference", "paper", "evaluation",
         "data", "pictures", "checkpoints", "machine", "pretrained", "pages", "project", "figures", "publishing",
         "files", "gpu_check", "study", "browser"},
        {"torch", "omegaconf", "tqdm"},
    ),
    "__main__": ({"commands"}, set()),
}  # fmt: skip


def imports(path):
    """(ours, third-party) top-level names that a module imports, at any depth of its code."""
    ours, others = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "lama":
                ours.add(parts[1] if len(parts) > 1 else "lama")
            else:
                others.add(parts[0])
    return ours, others


def layer_of(path):
    relative = path.relative_to(ROOT / "lama")
    return relative.parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_point_inward(path):
    import sys

    layer = layer_of(path)
    ours, others = imports(path)
    others = {name for name in others if name not in sys.stdlib_module_names}
    if layer == "__init__":
        assert ours <= {"inference"}
        assert not others
        return
    may_ours, may_others = LAWS[layer]
    if path.relative_to(ROOT / "lama").as_posix() == "data/datamodule.py":
        may_others = may_others | {"pytorch_lightning"}
    assert ours - {layer, "lama", "__version__"} <= may_ours, f"{layer} may not import {ours - may_ours - {layer}}"
    assert others <= may_others, f"{layer} may not import {others - may_others}"


def test_there_is_no_circle():
    """The table is in order: a layer may import only what stands above it."""
    seen = set()
    for layer, (ours, _) in LAWS.items():
        assert ours <= seen, f"{layer} imports {ours - seen}, which stand below it"
        seen.add(layer)


def test_every_layer_has_a_law():
    assert {layer_of(path) for path in MODULES} == set(LAWS) | {"__init__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name != "__init__":
            assert node.end_lineno - node.lineno < 60, f"{node.name} has more than a screen of lines"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_text_files_have_an_encoding(path):
    """Without one, names of images would be read otherwise on another machine."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if getattr(getattr(node, "func", None), "attr", "") in ("read_text", "write_text"):
            assert any(keyword.arg == "encoding" for keyword in node.keywords), f"{path}:{node.lineno}"


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_stay_thin(verb):
    text = (ROOT / "lama" / "commands" / f"{verb.replace('-', '_')}.py").read_text()
    assert len(text.splitlines()) <= 60
    docstring = ast.get_docstring(ast.parse(text)) or ""
    assert f"lama {verb}" in docstring, "the docstring holds a command that can be pasted"
    script = (ROOT / "bin" / f"{VERBS[verb].script}.py").read_text()
    assert len(script.splitlines()) == 6
    assert f"python bin/{VERBS[verb].script}.py" in script
    assert f'run_verb("{verb}")' in script


def test_every_script_and_every_command_is_a_verb():
    assert {path.stem for path in (ROOT / "bin").glob("*.py")} == {verb.script for verb in VERBS.values()}
    modules = {path.stem for path in (ROOT / "lama" / "commands").glob("*.py")} - {"__init__"}
    assert modules == {verb.replace("-", "_") for verb in VERBS}


def test_the_wheel_holds_every_package():
    """``packages`` is a list, since ``configs/`` lies outside the package, but inside the wheel."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "lama").rglob("__init__.py")}
    assert set(packages) == {".".join(folder.parts) for folder in folders} | {"lama.configs"}


def public_names():
    """``lama.<package>.<name>`` of everything in the ``__all__`` of a sub-package."""
    import importlib

    names = set()
    for folder in sorted((ROOT / "lama").iterdir()):
        if (folder / "__init__.py").is_file():
            module = importlib.import_module(f"lama.{folder.name}")
            names |= {f"lama.{folder.name}.{name}" for name in module.__all__}
    return names


def yaml_targets():
    """Every ``_target_`` in configs, with the file it stands in."""
    found = {}

    def walk(node, path):
        if isinstance(node, dict):
            if "_target_" in node:
                found.setdefault(node["_target_"], path)
            for value in node.values():
                walk(value, path)
        elif isinstance(node, list):
            for value in node:
                walk(value, path)

    for path in (ROOT / "configs").rglob("*.yaml"):
        walk(yaml.safe_load(path.read_text()), path)
    return found


def test_every_target_of_a_yaml_is_a_public_name():
    ours = {target for target in yaml_targets() if target.startswith("lama.")}
    assert ours <= public_names()


@pytest.mark.parametrize("package", ["losses", "masks", "data", "pictures"])
def test_every_public_name_has_a_yaml(package):
    names = {name for name in public_names() if name.startswith(f"lama.{package}.")}
    used_in_code = {"lama.data.FrozenPairs", "lama.data.PairFolder"}  # built by the data module from its settings
    assert names - used_in_code <= set(yaml_targets())


def test_every_generator_has_a_yaml_of_its_own():
    from lama.models import GENERATORS

    used = {target for target, path in yaml_targets().items() if path.parent.name == "generator"}
    assert used == {f"lama.models.{name}" for name in GENERATORS}


@pytest.mark.parametrize("path", sorted((ROOT / "lama").glob("*/__init__.py")), ids=lambda p: p.parent.name)
def test_every_folder_states_its_purpose(path):
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path}: expected a docstring that begins with its purpose"


def test_no_catch_all_modules():
    assert not [p for p in MODULES if p.stem in {"utils", "common", "helpers", "misc"}]
