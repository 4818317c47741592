"""Pages of the documentation site that come from the code: the command line, the HTTP interface, the changelog and the pictures.

A hook of mkdocs (mkdocs.yml): the files are written into docs/ before a build where they are missing or differ; git ignores them.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(ROOT / "src"))


def on_pre_build(config: Any) -> None:
    """Write the pages (an event of mkdocs)."""
    write(DOCS / "reference" / "cli.md", command_line())
    write(DOCS / "reference" / "http.md", http())
    write(DOCS / "changelog.md", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    pictures(DOCS / "assets")


def write(path: Path, text: str) -> None:
    """Write a page if it differs: mkdocs serve builds anew after every change."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def command_line() -> str:
    """Markdown of every command with its options, from click."""
    from kronos.cli import main

    parts = ["# Command line", "", _text(main.help), "", "Each command shows this with `--help`.", ""]
    for name in sorted(main.commands):
        parts += [f"## kronos {name}", "", *_command(main.commands[name], f"kronos {name}", 3)]
    return "\n".join(parts).rstrip() + "\n"


def _command(command: click.Command, name: str, level: int) -> Iterator[str]:
    """Lines of one command and of those below it."""
    context = click.Context(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (f"```\n{name} {usage}\n```", "", _text(command.help), "")
    options = [one for one in command.get_params(context) if isinstance(one, click.Option) and not one.hidden]
    if options:
        yield from ("| option | |", "| --- | --- |")
        for option in options:
            record = option.get_help_record(context)
            if record is not None:
                yield f"| {_code(record[0])} | {_cell(record[1])} |"
        yield ""
    if isinstance(command, click.Group):
        for below in sorted(command.commands):
            yield from (f"{'#' * level} {name} {below}", "")
            yield from _command(command.commands[below], f"{name} {below}", level + 1)


def _text(text: str | None) -> str:
    """Help of click as Markdown: paragraphs that click must not fill are examples."""
    parts: list[str] = []
    for paragraph in (text or "").split("\n\n"):
        lines = [line.rstrip() for line in paragraph.strip("\n").splitlines()]
        if lines and lines[0].strip() == "\b":
            parts.append("```\n" + textwrap.dedent("\n".join(lines[1:])).strip() + "\n```")
        else:
            parts.append(_escaped(" ".join(line.strip() for line in lines)))
    return "\n\n".join(parts)


def _escaped(text: str) -> str:
    for sign in ("\\", "*", "_", "<", "["):
        text = text.replace(sign, f"\\{sign}")
    return text


def _cell(text: str) -> str:
    return _escaped(" ".join(text.split())).replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{text}`"  # within code a | does not end a table's cell, and an escape would be shown


def http() -> str:
    """Markdown of every route with its request and answers, from the OpenAPI document of the service."""
    from fastapi import FastAPI

    from kronos.serving.app import ABOUT, __version__
    from kronos.serving.openapi import openapi_of
    from kronos.serving.routes import router

    app = FastAPI(title="Kronos", version=__version__, description=ABOUT)
    app.include_router(router)
    document = openapi_of(app)
    lines = ["# HTTP", "", _escaped(document["info"].get("description", "")), ""]
    lines += ["The same as a document for programs: `GET /openapi.json`. Examples: [the service](../service.md).", ""]
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            lines += [f"## {method.upper()} {path}", "", told.get("description") or told.get("summary", ""), ""]
            body = told.get("requestBody", {}).get("content", {})
            for kind, content in body.items():
                lines += [f"**Request**, `{kind}`: {_schema(content.get('schema', {}))}", ""]
                for example in content.get("examples", {}).values():
                    text = json.dumps(example["value"], ensure_ascii=False)
                    if len(text) < 300:
                        lines += ["```json", text, "```", ""]
            lines += ["| status | |", "| --- | --- |"]
            for status, answer in told["responses"].items():
                schemas = {_schema(c.get("schema", {})) for c in answer.get("content", {}).values()} - {""}
                lines.append(f"| {status} | {_cell(answer.get('description', ''))} {', '.join(sorted(schemas))} |")
            lines.append("")
    lines += ["## Schemas", ""]
    for name, schema in sorted(document.get("components", {}).get("schemas", {}).items()):
        lines += [f"### {name}", "", _escaped(" ".join(schema.get("description", "").split())), ""]
        if "properties" in schema:
            needed = schema.get("required", [])
            lines += ["| member | type | | |", "| --- | --- | --- | --- |"]
            for member, one in schema["properties"].items():
                default = (
                    "needed"
                    if member in needed
                    else f"default `{json.dumps(one['default'])}`"
                    if "default" in one
                    else ""
                )
                lines.append(f"| `{member}` | {_schema(one)} | {default} | {_cell(one.get('description', ''))} |")
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _schema(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words, with links to the schemas named."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(_schema(one) for one in schema[several]))
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_schema(schema.get('items', {})) or 'anything'}"
    return str(schema.get("type", ""))


def pictures(folder: Path) -> None:
    """The fan chart of the front page for light and dark pages: a forecast of the sample, made anew where it is not there."""
    targets = {"fan-light.png": False, "fan-dark.png": True}
    if all((folder / name).exists() for name in targets):
        return
    import kronos
    from kronos.klines.samples import sample_path

    bars = kronos.read_klines(sample_path("synthetic"))
    past, truth = bars.iloc[-430:-30], bars.iloc[-30:]
    forecast = kronos.load("nano").forecast(
        past, past["timestamps"], truth["timestamps"], sample_count=100, seed=0, ids=["Synthetic, daily"]
    )
    folder.mkdir(exist_ok=True)
    forecast.plot(path=folder / "fan-light.png", truth=truth.set_index("timestamps"))
    darken(folder / "fan-light.png", folder / "fan-dark.png")


def darken(light: Path, dark: Path) -> None:
    """A picture for a dark page: lightness inverted, hues kept."""
    import numpy as np
    from matplotlib import colors, image

    pixels = image.imread(light)[..., :3]
    hsv = colors.rgb_to_hsv(1 - pixels)
    hsv[..., 0] = (hsv[..., 0] + 0.5) % 1  # inverting turns a hue to its opposite
    rgb = colors.hsv_to_rgb(hsv)
    page = np.array([0.118, 0.129, 0.161])
    image.imsave(dark, np.clip(page + rgb * (1 - page), 0, 1))


if __name__ == "__main__":
    on_pre_build(None)
