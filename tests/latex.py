"""Compile LaTeX as a user does."""

import re
import shutil
import subprocess

PDFLATEX = shutil.which("pdflatex")


def compile_page(folder, *files):
    """Compile a page with ``files`` below ``folder``; raises AssertionError where that fails or is too wide."""
    packages = r"\usepackage{booktabs,graphicx,amssymb}"
    body = "".join(rf"\input{{{file}}}" for file in files)
    (folder / "page.tex").write_text(rf"\documentclass{{article}}{packages}\begin{{document}}{body}\end{{document}}")
    arguments = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert not re.search(r"Overfull \\hbox \(\d{2,}\.", done.stdout), "wider than the page"
