"""A package of a user's own, started from a template: ``lama new my_project``."""

from lama.project.new import new_project

__all__ = ["new_project"]
