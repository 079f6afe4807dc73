"""The report on disk: JSON for programs, a plot, and one page that holds both tables and plot."""

from __future__ import annotations

import base64
import io
import json
from html import escape
from pathlib import Path

from PIL import Image

from bench.watch.lag_plot import draw
from bench.watch.report import Report
from bench.watch.tables import Table

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;color:#22262e;max-width:62rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:.4rem 0 .3rem}caption{text-align:left;font-weight:600;padding:.8rem 0 .3rem}
td,th{padding:.15rem .7rem .15rem 0;border-bottom:1px solid #dee2e8;text-align:right;font-variant-numeric:tabular-nums}
td:first-child,th:first-child{text-align:left}img{width:100%;height:auto}p{color:#5a6270;margin:.2rem 0 1rem}
.table{overflow-x:auto}@media(prefers-color-scheme:dark){body{background:#14171c;color:#dde2ea}td,th{border-color:#333a45}
p{color:#98a2b0}img{filter:invert(.92) hue-rotate(180deg)}}
"""


def write_page(found: Report, folder: Path) -> list[str]:
    """Write bench-watch.json, .png and .html into a folder; the lines for the console."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench-watch.json").write_text(json.dumps(found.numbers, indent=2) + "\n", "utf-8")
    plot = draw(found.curves, found.title.split(",", 1)[0])
    plot.save(folder / "bench-watch.png")
    (folder / "bench-watch.html").write_text(page(found, plot), "utf-8")
    lines = [found.title, "", *(line for table in found.tables for line in table.lines())]
    return [*lines, f"Written: {folder / 'bench-watch.html'}, .json, .png"]


def page(found: Report, plot: Image.Image) -> str:
    """One page that needs no other file."""
    packed = io.BytesIO()
    plot.save(packed, "PNG", optimize=True)
    picture = base64.b64encode(packed.getvalue()).decode()
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(found.title)}</title>'
    )
    tables = "".join(_table(table) for table in found.tables)
    return (
        f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body><h1>Memory or luck?</h1>'
        f'<p>{escape(found.title)}</p><img alt="Share of right answers by age of the evidence" '
        f'src="data:image/png;base64,{picture}">{tables}</body></html>\n'
    )


def _table(table: Table) -> str:
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in table.heads)
    body = "".join("<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    caption = f"<caption>{escape(table.name)}</caption>"
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    return (
        f'<div class="table"><table>{caption}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>{note}'
    )


def _cell(text: str) -> str:
    if text.startswith("**") and text.endswith("**"):
        return f"<strong>{escape(text[2:-2])}</strong>"
    return escape(text)
