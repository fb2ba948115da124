"""The model card: README.md of a repository on the hub, with a head that the hub reads."""

from collections.abc import Mapping, Sequence
from typing import Any

from lama.evaluation.tables import markdown_table, stamp

WEIGHTS = "model.safetensors"

CARD = """---
license: {license}
library_name: lama
pipeline_tag: image-to-image
tags: [image-inpainting, lama]
---

# {name}

A network for image inpainting: it fills the part of a photograph that a mask marks. {network}, trained for {iterations}
iterations with an implementation of LaMa ([Suvorov et al., WACV 2022](https://arxiv.org/abs/2109.07161)).

## Use

```bash
hf download {repo} {weights} --local-dir .
lama predict model.path={weights} image=photo.jpg mask=mask.png out=result.png{plugins}
```

## Measured

{measured}
## Training

{training}

`config.yaml` is the complete configuration, `provenance.json` has the code, the machine and the command of every start.

## Where it comes from

```text
{origin}
```
"""


def card(
    repo: str,
    licence: str,
    network: Mapping[str, Any],  # "class", "parameters", "iteration" of the weights, and "info" that lies beside them
    evaluations: Mapping[str, Mapping[str, Any]],  # metrics.json by the name of the evaluation
    summary: Mapping[str, Any],  # summary.json of the run; may be empty
    origin: Sequence[str],  # lines of ``lama trace``
) -> str:
    """The text of the card. It holds the numbers of ``evaluations`` with their protocol and sets, and no others."""
    parameters = "" if network["parameters"] is None else f" with {network['parameters'] / 1e6:.2f} M parameters"
    package, dot, _ = network["class"].partition(".")  # a class of lama has a short name
    return CARD.format(
        repo=repo, license=licence, weights=WEIGHTS, name=repo.rpartition("/")[2],
        network=f"`{network['class']}`{parameters}", iterations=network["iteration"] or "an unknown number of",
        plugins=f' "plugins=[{package}]"' if dot else "",
        measured=_measured(evaluations, network["info"]), training=_training(summary), origin="\n".join(origin),
    )  # fmt: skip


def _measured(evaluations: Mapping[str, Mapping[str, Any]], info: Mapping[str, Any]) -> str:
    chosen = [f"{name} {value:.4g}" for name, value in info.items() if name.startswith("val_")]
    lines = (
        [f"The weights were chosen by {', '.join(chosen)}, on the validation images of the training.\n"]
        if chosen
        else []
    )
    for name, content in evaluations.items():
        lines.append(
            f"{markdown_table({name: content['overall']}, 'evaluation', interval=True).strip()}\n\n{stamp(content)}\n"
        )
    return "\n".join(lines) if evaluations else "\n".join([*lines, "Not evaluated on a test set.\n"])


def _training(summary: Mapping[str, Any]) -> str:
    shown = {
        "images": "images", "batch_size": "images for a step and process", "processes": "processes",
        "losses": "losses", "precision": "precision", "duration": "duration", "device": "device",
    }  # fmt: skip
    rows = [(text, summary[key]) for key, text in shown.items() if key in summary]
    if not rows:
        return "The training did not come to its end, so its summary is missing."
    cells = [(text, ", ".join(map(str, value)) if isinstance(value, list) else value) for text, value in rows]
    return "\n".join(["| | |", "|---|---|", *(f"| {text} | {value} |" for text, value in cells)])
