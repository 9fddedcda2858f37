"""Turns pages of Markdown into HTML, code in colours.

A command of the wasi:cli world: `pages FROM TO`. The component holds the memory as it is once this
module is imported. What Python imports after that is not found, as its files are not there.
"""

import sys
from pathlib import Path

import jinja2
import markdown
import pygments.formatters
import pygments.lexers
from wit_world import exports

STYLE = pygments.formatters.HtmlFormatter().get_style_defs()

PAGE = jinja2.Template("""<!doctype html>
<meta charset="utf-8">
<title>{{ title }}</title>
<style>{{ style }}</style>
{{ body }}
""")


def html(text: str) -> str:
    return markdown.markdown(text, extensions=["codehilite", "fenced_code", "tables", "toc"])


class Run(exports.Run):
    def run(self) -> None:
        source, target = map(Path, sys.argv[1:])
        for path in sorted(source.glob("*.md")):
            body = html(path.read_text())
            page = target / f"{path.stem}.html"
            page.write_text(PAGE.render(title=path.stem, style=STYLE, body=body))
            print(f"{path.name} -> {page}, {body.count('<span ')} pieces in colour", flush=True)


# What is imported at its first use is used now: extensions, and the lexer of each language.
html("# Nothing")
for language in pygments.lexers.LEXERS:
    getattr(pygments.lexers, language)
