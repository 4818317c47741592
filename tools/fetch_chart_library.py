"""Fetch TradingView's Lightweight Charts for the page, check it, and put it into the package.

    python tools/fetch_chart_library.py

The npm package's tarball is compared with a SHA-256 that stands here, so that the file in the repository can be made
again, byte for byte. To take a newer version: change `VERSION` and `SHA256` (``npm pack lightweight-charts@VERSION``, then
``sha256sum``), run this, and run tests/page. Node is not needed.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
import urllib.request
from pathlib import Path

VERSION = "5.2.1"
SHA256 = "64310292298df4dd527494865e5d91d447f8bb397b68de3912c2a6465025ee5e"
REGISTRY = os.environ.get("NPM_CONFIG_REGISTRY", "https://registry.npmjs.org").rstrip("/")
PAGE = Path(__file__).parents[1] / "src" / "kronos" / "serving" / "page"
FILES = {
    "package/dist/lightweight-charts.standalone.production.mjs": "lightweight-charts.js",
    "package/LICENSE": "lightweight-charts.LICENSE",
}


def main() -> None:
    source = f"{REGISTRY}/lightweight-charts/-/lightweight-charts-{VERSION}.tgz"
    with urllib.request.urlopen(source, timeout=60) as response:
        content = response.read()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        sys.exit(f"{source} has SHA-256 {found}, not {SHA256}: nothing was written")
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member, name in FILES.items():
            file = archive.extractfile(member)
            assert file is not None, member
            (PAGE / name).write_bytes(file.read())
            print(PAGE / name)


if __name__ == "__main__":
    main()
