"""Fine-tuning: initialise a training with the weights of another model."""

from typing import Any, Literal

from torch import nn

from lama.checkpoints import Checkpoint, Description, differences, looks_like
from lama.training.module import InpaintingModule

Parts = Literal["auto", "generator", "discriminator", "both"]


def check_start(init_from: object, init_parts: object, resume: object) -> None:
    """Raise ValueError if the settings ``init_from``, ``init_parts`` and ``resume`` contradict each other."""
    if init_from is None and init_parts != "auto":
        raise ValueError(f"init_parts={init_parts}: needs init_from=PATH, the weights to start from")
    if init_from is not None and resume not in (None, "auto"):
        raise ValueError(f"init_from={init_from} resume={resume}: one starts, the other continues a run; give only one")


def initialise(module: InpaintingModule, checkpoint: Checkpoint, parts: Parts = "auto") -> list[str]:
    """Load the weights of ``checkpoint`` into ``module``; optimisers and counters start anew.

    ``auto`` loads the generator, and the discriminator if the file has one. Returns lines on the loaded, the randomly
    initialised and the unused parts. Raises ValueError, before any change, if a part is missing or does not fit.
    """
    if parts not in ("auto", "generator", "discriminator", "both"):
        raise ValueError(f"init_parts={parts}: expected auto, generator, discriminator or both")
    networks = {"generator": module.generator, "discriminator": module.discriminator}
    wanted = [role for role in networks if parts in (role, "both", "auto")]
    if parts == "auto" and not checkpoint.part("discriminator"):
        wanted.remove("discriminator")
    states = {}
    for role in wanted:  # check all parts before loading any
        _check(checkpoint, role, networks[role])
        states[role] = checkpoint.state(role, networks[role])
    lines = [f"init_from: {checkpoint.file}"]
    for role, network in networks.items():
        if role in states:
            network.load_state_dict(states[role])
            if role == "generator":
                module.set_scale(checkpoint.scale)
            size = sum(p.numel() for p in network.parameters()) / 1e6
            lines.append(f"  {role}: loaded, {len(states[role])} tensors, {size:.2f} M parameters")
        else:
            lines.append(f"  {role}: initialised at random ({_why(checkpoint, role, parts)})")
    if module.average is not None:
        module.average.module.load_state_dict(module.generator.state_dict())
    left = checkpoint.left()
    if left:
        lines.append("  left in the file: " + ", ".join(f"{n} tensors of {name}" for name, n in sorted(left.items())))
    return lines


def _why(checkpoint: Checkpoint, role: str, parts: str) -> str:
    if parts != "auto":
        return "not asked for"
    training = checkpoint.file.parent.parent / "checkpoints" / "last.ckpt"
    return "the file holds none" + (f"; {training} does" if training.is_file() else "")


def _check(checkpoint: Checkpoint, role: str, network: nn.Module) -> None:
    """Raise ValueError, with the configuration that fits, if the file's network differs from ``network``."""
    description = checkpoint.describe(role)
    config: Any = network.config
    expected = (type(network).__name__, config)
    differing = differences(description, expected)
    if differing:
        where = f"init_from={checkpoint.file}: the {role} is another network, {differing}"
        raise ValueError(f"{where}; {_what_fits(role, description, *expected)}")


def _what_fits(role: str, description: Description, name: str, config: dict[str, Any]) -> str:
    """The settings that give the network of the file."""
    title = looks_like(description)
    if title:
        return f"{description[1]['n_blocks']} blocks: this looks like {title}, train it with -cn {title}"
    if name != description[0]:
        return f"what fits is a {description[0]} of {description[1]}"
    settings = " ".join(f"{role}.{key}={value}" for key, value in description[1].items() if config.get(key) != value)
    return f"what fits is {settings}"
