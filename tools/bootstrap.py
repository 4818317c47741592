"""Create the project's virtual environment: pinned dependencies, CPU PyTorch, the project itself in editable form.

    python3 tools/bootstrap.py .venv            what forecasts need
    python3 tools/bootstrap.py .venv dev        and the packages of an extra, here those of the tests

Uses nothing but the standard library. PyTorch's index of CPU builds is asked first where it can be reached; elsewhere pip takes
the pinned release from wherever it is set up to look.
"""

from __future__ import annotations

import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def cpu_index() -> list[str]:
    """pip options for PyTorch's index of CPU builds: a tenth of the size of the default build on Linux."""
    if not sys.platform.startswith("linux"):
        return []  # the default builds are CPU builds there
    try:
        with urllib.request.urlopen(f"{CPU_INDEX}/torch/", timeout=5):
            return ["--extra-index-url", CPU_INDEX]
    except OSError:
        return []


def main() -> None:
    if sys.version_info < (3, 10):
        sys.exit(
            f"Python 3.10 or newer is needed, this is {sys.version.split()[0]}; name another: make PYTHON=python3.12"
        )
    target, extras = Path(sys.argv[1] if len(sys.argv) > 1 else ".venv"), sys.argv[2:]
    if not (target / "bin" / "python").exists():
        print(f"creating {target} with Python {sys.version.split()[0]}", flush=True)
        venv.create(target, with_pip=True)
    pip = [
        str(target / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
    ]
    pinned = ["-c", str(ROOT / "constraints.txt")]
    print(
        f"installing pinned dependencies{''.join(f', those of {extra}' for extra in extras)} (a few minutes the first time)",
        flush=True,
    )
    subprocess.run([*pip, *pinned, *cpu_index(), "torch"], check=True)
    subprocess.run([*pip, *pinned, "setuptools", "wheel"], check=True)
    project = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    subprocess.run([*pip, *pinned, "--no-build-isolation", "--editable", project], check=True)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"set-up failed (exit code {error.returncode}): {' '.join(error.cmd[-4:])}")
