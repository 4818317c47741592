"""Put TradingView's Lightweight Charts into the package, for the page.

    npm pack lightweight-charts@5.2.1
    python tools/chart_library.py lightweight-charts-5.2.1.tgz

The archive is compared with a SHA-256 that stands here, so that the file in the repository can be made again, byte for byte.
To take a newer version: change `VERSION` and `SHA256` (``sha256sum`` of the archive), run this, and run tests/page. Nothing of
this is needed to install or to run the package.
"""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
from pathlib import Path

VERSION = "5.2.1"
SHA256 = "64310292298df4dd527494865e5d91d447f8bb397b68de3912c2a6465025ee5e"
PAGE = Path(__file__).parents[1] / "src" / "kronos" / "serving" / "page"
FILES = {
    "package/dist/lightweight-charts.standalone.production.mjs": "lightweight-charts.js",
    "package/LICENSE": "lightweight-charts.LICENSE",
}


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(f"give the archive: npm pack lightweight-charts@{VERSION}")
    content = Path(sys.argv[1]).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        sys.exit(f"{sys.argv[1]} has SHA-256 {found}, not {SHA256}: nothing was written")
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member, name in FILES.items():
            file = archive.extractfile(member)
            assert file is not None, member
            (PAGE / name).write_bytes(file.read())
            print(PAGE / name)


if __name__ == "__main__":
    main()
