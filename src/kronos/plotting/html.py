"""Pages in one HTML file that works offline, from the Jinja2 templates of this folder.

Texts from data are escaped by the templates; data of charts stands in a script element as JSON that cannot end it.
"""

from __future__ import annotations

import json
from typing import Any

from kronos.io.extras import need


def render_page(template: str, **values: Any) -> str:
    """Render ``templates/{template}.html.j2`` with these values, escaped unless the template says otherwise.

    A value of a script (``charts``) is given as an object and written by `script_json`.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(loader=PackageLoader("kronos.plotting"), autoescape=True, undefined=StrictUndefined)
    pages.filters["script_json"] = lambda value: trusted(script_json(value))
    return pages.get_template(f"{template}.html.j2").render(**values)


def trusted(markup: str) -> Any:
    """Mark HTML of this package as safe, so that a template does not escape it."""
    from markupsafe import Markup

    return Markup(markup)


def plotly_script() -> Any:
    """Return plotly's JavaScript, for a script element of a template."""
    need("plotly", "plot", "an HTML page with charts")
    from plotly.offline import get_plotlyjs

    return trusted(get_plotlyjs())


def script_json(value: object) -> str:
    """Return JSON that cannot end the script element that holds it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
