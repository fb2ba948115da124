"""The Hugging Face hub: a repository for the model, and one commit with all files."""

import importlib.util
import re
from pathlib import Path


def check_repo(repo: str, needs_hub: bool) -> None:
    """Raise ValueError for a name that is no USER/NAME and, if the hub is needed, where its package is missing."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", repo):
        raise ValueError(f"repo={repo}: expected USER/NAME, of letters, digits and ._-")
    if needs_hub and importlib.util.find_spec("huggingface_hub") is None:
        raise ValueError("repo: the package huggingface_hub is missing: pip install '.[hub]'; dry_run=true needs none")


def upload(folder: Path, repo: str, private: bool) -> str:
    """Upload ``folder`` in one commit, and return its address. A new repository is made, and is ``private`` or not.

    The token is $HF_TOKEN, or the one that ``hf auth login`` has stored. Raises ValueError where the hub refuses or
    cannot be reached.
    """
    import huggingface_hub

    try:
        api = huggingface_hub.HfApi()
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo, folder_path=folder, commit_message="Weights of a training, with their card"
        )
    except Exception as error:  # of the hub, of its HTTP library, of the system
        reason = " ".join(str(error).split()) or type(error).__name__
        advice = f"log in with hf auth login, or set HF_TOKEN; what would be uploaded lies in {folder}"
        raise ValueError(f"repo={repo}: {reason}; {advice}") from error
    return str(commit.commit_url)
