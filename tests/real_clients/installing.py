"""Install the TypeScript clients from their lock file, once; what is installed carries the digest of that file."""

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
INSTALLED = HERE.parents[1] / ".venv" / "real-clients"
PACKAGES = INSTALLED / "node_modules"
STAMP = INSTALLED / "installed"
WANTED = ("package.json", "package-lock.json", ".npmrc")
PROGRAM = "client.mjs"
OLDEST_NODE = 20
INSTALL_SECONDS = 300


def missing() -> str:
    """Say what this machine lacks for the TypeScript clients; empty when it has everything, installed by now."""
    if not (shutil.which("node") and shutil.which("npm")) or _node_version() < OLDEST_NODE:
        return f"Node.js {OLDEST_NODE} or newer, and npm"
    INSTALLED.mkdir(parents=True, exist_ok=True)
    # Tests run in several processes: the others wait for the first.
    with (INSTALLED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _install()


def _install() -> str:
    # Beside its packages, where Node.js looks for them.
    program = (HERE / PROGRAM).read_bytes()
    if not (copy := INSTALLED / PROGRAM).exists() or copy.read_bytes() != program:
        copy.write_bytes(program)
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in WANTED)).hexdigest()
    if STAMP.exists() and STAMP.read_text() == digest:
        return ""
    for name in WANTED:
        shutil.copy(HERE / name, INSTALLED / name)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier"]
    done = subprocess.run(command, cwd=INSTALLED, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if done.returncode:
        return f"the packages of package-lock.json, and npm could not install them: {done.stderr[-500:]}"
    STAMP.write_text(digest)
    return ""


def _node_version() -> int:
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    return int(said.strip().removeprefix("v").partition(".")[0] or 0)
