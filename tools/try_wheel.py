"""Install a wheel into an empty environment, and use it from an empty folder as a user would: forecast, service, page, assistant.

python tools/try_wheel.py dist/kronos_forecast-0.1.0-py3-none-any.whl
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from pathlib import Path

from bootstrap import ROOT, cpu_index

PORT = 8734
SECONDS = 120
"""A service that is not ready by then has failed."""


ASSISTANT = """
import sys

import anyio
import mcp

CALLS = [
    ("models", {}, "nano"),
    ("check", {"file": "bars.csv"}, '"ok": true'),
    ("forecast", {"file": "bars.csv", "horizon": 3, "paths": 10}, '"mean": '),
    ("evaluate", {"file": "bars.csv", "horizon": 2, "paths": 10, "windows": 5, "lookback": 10}, "error_over_last_price"),
    ("forecast", {"file": "../secret.csv", "horizon": 3}, None),
    ("forecast", {"file": "bars.csv", "horizon": 100000}, None),
]


async def session():
    async with mcp.Client(mcp.StdioServerParameters(command=sys.argv[1], args=["mcp", "prices"])) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names == ["models", "check", "forecast", "evaluate"], names
        for name, arguments, said in CALLS:
            answer = await client.call_tool(name, arguments)
            text = answer.content[0].text
            assert answer.is_error == (said is None) and (said or "") in text, (name, arguments, text)


anyio.run(session)
"""
"""A client of the package mcp: tools are listed and answer; a file outside the folder and a horizon over the limit are refused."""


def ask(path: str, body: object = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


def wait_until_ready(service: subprocess.Popen[bytes]) -> None:
    for _ in range(SECONDS):
        if service.poll() is not None:
            sys.exit(f"kronos serve ended with {service.returncode}")
        try:
            ask("/readyz")
            return
        except OSError:
            time.sleep(1)
    sys.exit(f"kronos serve was not ready after {SECONDS} seconds")


def main() -> None:
    wheel = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name) / "empty", Path(name) / "environment"
        folder.mkdir()
        venv.create(home, with_pip=True)
        binaries = home / "bin"
        pip = [
            str(binaries / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-compile",
        ]
        pinned = ["-c", str(ROOT / "constraints.txt")]
        subprocess.run([*pip, *pinned, *cpu_index(), "torch"], check=True)
        subprocess.run([*pip, *pinned, f"{wheel}[plot]"], check=True)
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        clean.update(HF_HUB_OFFLINE="1", HOME=name)
        kronos = str(binaries / "kronos")
        subprocess.run([kronos, "--help"], check=True, cwd=folder, env=clean, stdout=subprocess.DEVNULL)
        words = "forecast --sample synthetic --horizon 5 --paths 20 --out f.csv --plot f.png"
        subprocess.run([kronos, *words.split()], check=True, cwd=folder, env=clean)
        assert (folder / "f.png").read_bytes().startswith(b"\x89PNG")
        subprocess.run([*pip, *pinned, f"{wheel}[serve]"], check=True)
        service = subprocess.Popen([kronos, "serve", "--port", str(PORT)], cwd=folder, env=clean)
        try:
            wait_until_ready(service)
            assert b"<html" in ask("/")
            answer = json.loads(ask("/v1/forecast", {"sample": "synthetic", "horizon": 5, "paths": 20}))
            assert len(answer["forecast"]["mean"]["close"]) == 5 if "mean" in answer["forecast"] else answer["forecast"]
        finally:
            service.terminate()
            service.wait(timeout=60)
        subprocess.run([*pip, *pinned, f"{wheel}[mcp]"], check=True)
        (folder / "prices").mkdir()
        rows = [f"2024-01-{day:02},{day},{day + 1},{day - 1},{day + 0.5}" for day in range(2, 32)]
        (folder / "prices" / "bars.csv").write_text("\n".join(["date,open,high,low,close", *rows]) + "\n")
        subprocess.run([binaries / "python", "-c", ASSISTANT, kronos], check=True, cwd=folder, env=clean)
    print(f"{wheel.name}: forecast, service, page and assistant work in an empty environment")


if __name__ == "__main__":
    main()
