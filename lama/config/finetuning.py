"""Settings that a configuration leaves to the model it starts from."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

NOBODY = {"_target_": "lama.models.PatchDiscriminator", "ndf": 2, "n_layers": 1}  # of a training without an adversary
# Weights of the losses that are null in the configuration: with a trained discriminator, and without one.
WEIGHTS = {
    "losses.adversarial.weight": (10, 0),
    "losses.feature_matching.weight": (100, 0),
    "losses.l1.weight_missing": (0, 30),
}


def fit_to_start(config: DictConfig, open_checkpoint: Any) -> bool:
    """Fill the networks and the weights of losses that are null in ``config``, by the model of its ``init_from``.

    Returns whether it did. Raises ValueError if there is no ``init_from`` to take them from.
    """
    if config.generator is not None:
        return False
    if config.init_from is None:
        raise ValueError(
            "init_from: missing; generator=null takes the network of init_from=small, of a released name or a path"
        )
    checkpoint = open_checkpoint(str(config.init_from), "init_from")
    described = {role: checkpoint.describe(role) for role in ("generator", "discriminator") if checkpoint.part(role)}
    for role, node in (("generator", None), ("discriminator", NOBODY)):
        if config[role] is None:
            name, arguments = described.get(role, ("", {}))
            config[role] = {"_target_": f"lama.models.{name}", **arguments} if name else node
    for key, (adversarial, alone) in WEIGHTS.items():
        if OmegaConf.select(config, key, default=0) is None:
            OmegaConf.update(config, key, adversarial if "discriminator" in described else alone)
    return True
