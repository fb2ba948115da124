"""`lama demo` as a process of its own, with a log of the connections it opens and the files it writes."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# code for python -c; its arguments: the log, the script, the script's arguments
WATCHED = """
import runpy, sys
log = open(sys.argv.pop(1), "a", buffering=1)
def audit(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        print(event, arguments[1:] if event == "socket.connect" else arguments, file=log)
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        print("write", arguments[0], file=log)
sys.addaudithook(audit)
sys.argv[0] = sys.argv.pop(1)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def start(*arguments, cwd, tmpdir=None, code=None):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(tmpdir or cwd)}
    command = [sys.executable, *(("-c", code) if code else (ROOT / "bin" / "demo.py",)), *arguments]
    return subprocess.Popen(
        command, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
