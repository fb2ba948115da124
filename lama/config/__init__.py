"""From YAML and a command line to objects: only this room and ``sweeps`` import Hydra.

``read`` turns the arguments of a command into a configuration; ``build`` turns a node of it into the object that it
describes. The configuration chooses; constructors check ranges, shapes and paths.
"""

from lama.config.command_line import literal, options_of, read
from lama.config.composing import choices, compose, load_yaml, to_yaml
from lama.config.evaluation_sets import build_data_gen, load_data_gen
from lama.config.finetuning import fit_to_start
from lama.config.folder import CONFIGS
from lama.config.gate import build, build_module, check_plan, flag, preflight
from lama.config.official import official_location, official_prediction
from lama.config.plugins import use_plugins
from lama.config.protocols import load_protocol
from lama.config.wording import is_user_error, nearest, one_line, printable

__all__ = [
    "CONFIGS", "build", "build_data_gen", "build_module", "check_plan", "choices", "compose", "fit_to_start",
    "flag", "is_user_error", "literal", "load_data_gen", "load_protocol", "load_yaml", "nearest",
    "official_location", "official_prediction", "one_line", "options_of", "preflight", "printable", "read",
    "to_yaml", "use_plugins",
]  # fmt: skip
