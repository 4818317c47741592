"""Child processes of tests are ended with all that they started, and answer to Ctrl-C however the suite was started."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.processes import run_process, started

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(float(sys.argv[1]))
"""
SUITE = """
import sys, time
from tests.processes import started

def test_something_long():
    with started([sys.executable, "-c", "import time; time.sleep(300)"]) as process:
        print(process.pid, flush=True)
        time.sleep(300)
"""


def runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("seconds", [0, 300], ids=["parent_over", "parent_runs"])
def test_a_grandchild_in_a_session_of_its_own_is_ended(seconds):
    with started([sys.executable, "-c", PARENT, seconds], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        grandchild = int(process.stdout.readline())
        if not seconds:
            process.wait(30)
        assert runs(grandchild)
    assert not runs(grandchild)
    assert process.returncode == (-signal.SIGKILL if seconds else 0)


def test_children_answer_to_ctrl_c_where_the_suite_ignores_it():
    child = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    suite = f"import subprocess, sys, tests.conftest; subprocess.run([sys.executable, '-c', {child!r}])"
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c"]
    assert run_process([*ignoring, child], check=True).stdout == "False\n"
    assert run_process([*ignoring, suite], check=True, env=ENVIRONMENT, cwd=ROOT).stdout == "True\n"


def test_a_suite_that_is_terminated_ends_its_children(tmp_path):
    (tmp_path / "test_suite.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-s", "-q", "-p", "tests.conftest", tmp_path / "test_suite.py"]
    with started(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=ROOT) as suite:
        assert suite.stdout is not None
        child = int(next(line for line in suite.stdout if line.strip().isdigit()))
        suite.send_signal(signal.SIGTERM)
        suite.communicate(timeout=60)
    assert suite.returncode == pytest.ExitCode.INTERRUPTED
    assert not runs(child)
