"""Create the project's virtual environment: pinned dependencies, CPU PyTorch, the project itself in editable form.

    python3 tools/bootstrap.py .venv            what forecasts need
    python3 tools/bootstrap.py .venv plot       and what pictures of them need
    python3 tools/bootstrap.py .venv dev        and the packages of an extra, here those of the tests
    python3 tools/bootstrap.py .venv-oldest plot,excel --oldest    the oldest releases that pyproject.toml allows, and pytest
    python3 tools/bootstrap.py .venv-newest plot,excel --newest    the newest ones, and pytest

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
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    target, extras = Path(words[0] if words else ".venv"), words[1:]
    if not (target / "bin" / "python").exists():
        print(f"creating {target} with Python {sys.version.split()[0]}", flush=True)
        venv.create(target, with_pip=True)
    python = str(target / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    releases = next((word for word in sys.argv[1:] if word.startswith("--")), "--pinned")
    chosen = constraints(releases, target, python, extras)
    whose = "".join(f", those of {extra}" for extra in extras)
    print(f"installing {releases[2:]} dependencies{whose} (a few minutes the first time)", flush=True)
    subprocess.run([*pip, *chosen, *cpu_index(), "torch"], check=True)
    subprocess.run([*pip, *chosen, "setuptools>=77", "wheel"], check=True)  # that of Python 3.10 is older
    if releases != "--pinned":
        subprocess.run([*pip, "pytest", "pytest-timeout"], check=True)
    project = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    subprocess.run([*pip, *chosen, "--no-build-isolation", "--editable", project], check=True)


def constraints(releases: str, target: Path, python: str, extras: list[str]) -> list[str]:
    """pip options for the releases to take: --pinned those of constraints.txt, --oldest, or --newest."""
    if releases == "--pinned":
        return ["-c", str(ROOT / "constraints.txt")]
    if releases == "--newest":
        return ["--upgrade", "--upgrade-strategy", "eager"]
    if releases != "--oldest":
        sys.exit(f"unknown option {releases}: --oldest or --newest")
    names = [name for extra in extras for name in extra.split(",")]
    done = subprocess.run(
        [python, str(ROOT / "tools" / "oldest.py"), *names], check=True, capture_output=True, text=True
    )
    file = target / "oldest.txt"
    file.write_text(done.stdout, encoding="utf-8")
    return ["-c", str(file)]


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"set-up failed (exit code {error.returncode}): {' '.join(error.cmd[-4:])}")
