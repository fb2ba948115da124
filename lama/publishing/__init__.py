"""Publish a training on the Hugging Face hub: its weights, its configuration and a model card."""

from lama.publishing.folder import make_folder
from lama.publishing.hub import check_repo, upload

__all__ = ["check_repo", "make_folder", "upload"]
