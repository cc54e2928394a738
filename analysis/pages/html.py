"""Self-contained HTML pages: text, tables and plots in one file, nothing fetched."""

import html
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from matplotlib.figure import Figure

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222 }}
table {{ border-collapse: collapse; font-size: 13px }}
td, th {{ padding: .2em .7em; text-align: left; vertical-align: top }}
tr:nth-child(even) {{ background: #f4f4f4 }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; background: #f4f4f4; padding: .7em; margin: .2em 0 }}
dt {{ font-weight: 600 }} dd {{ margin: 0 0 .6em }} summary {{ cursor: pointer; color: #3465a4 }}
svg {{ max-width: 100%; height: auto }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""


def page(title: str, sections: Iterable[tuple[str, str]]) -> str:
    """A whole page from headings and the HTML below each."""
    body = "\n".join(f"<h2>{html.escape(heading)}</h2>\n{content}" for heading, content in sections)
    return _PAGE.format(title=html.escape(title), body=body)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; cells are text and are escaped."""
    lines = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in header) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows]
    return "<table>" + "\n".join(lines) + "</table>"


def text(content: str) -> str:
    """Text as it stands, in a box."""
    return f"<pre>{html.escape(content)}</pre>"


def texts(named: Mapping[str, str], most: int) -> str:
    """Return named texts as a list; one longer than `most` characters is cut, and a click opens all of it."""
    items = []
    for name, content in named.items():
        shown = text(content if len(content) <= most else f"{content[:most].rstrip()} …")
        if len(content) > most:
            shown += f"<details><summary>all {len(content)} characters</summary>{text(content)}</details>"
        items.append(f"<dt>{html.escape(name)}</dt><dd>{shown}</dd>")
    return f"<dl>{''.join(items)}</dl>"


def sentence(content: str) -> str:
    """Return a paragraph."""
    return f"<p>{html.escape(content)}</p>"


def plot(figure: Figure) -> str:
    """A figure as SVG."""
    file = io.StringIO()
    figure.savefig(file, format="svg", bbox_inches="tight")
    svg = file.getvalue()
    return svg[svg.index("<svg") :]
