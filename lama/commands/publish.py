"""Publish a training on the Hugging Face hub: weights, configuration, and a card with numbers and provenance.

lama publish runs/mine repo=user/name license=apache-2.0 dry_run=true        # writes runs/mine/publish, uploads nothing
lama publish runs/mine repo=user/name license=cc-by-nc-4.0 evaluations=[OUT_A,OUT_B]
"""

from lama.config import flag, read


def main(arguments: list[str]) -> None:
    places = [one for one in arguments if "=" not in one and not one.startswith("-")]
    config = read([one for one in arguments if one not in places], str(__doc__), "publish")
    if len(places) != 1:
        raise ValueError(f"expected one run: publish RUN repo=USER/NAME license=NAME; got {' '.join(places) or 'none'}")
    dry_run, private = flag(config, "dry_run"), flag(config, "private")
    repo, licence = str(config.repo), str(config.license)
    from lama.publishing import check_repo, make_folder, upload

    check_repo(repo, needs_hub=not dry_run)
    folder = make_folder(places[0], repo, licence, list(config.evaluations))
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        print(f"{path.stat().st_size:>12,} bytes  {path.relative_to(folder)}")
    print(f"not uploaded: {folder}" if dry_run else f"uploaded: {upload(folder, repo, private)}")
