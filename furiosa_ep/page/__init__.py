"""Pages of HTML that stand alone: no network, and no scripts but their own."""

from html import escape
from importlib.resources import files


def document(
    kind: str, title: str, about: str, main: str, *, styles: str = "", script: str = ""
) -> str:
    """A page in the common style.

    Args:
        kind: what the page is, above its title and behind it in the browser's.
        title: of what; both are escaped.
        about: a paragraph below the title, HTML like `main`.
        main: what the page shows.
        styles: CSS besides the common one.
        script: JavaScript that runs when all is there.
    """
    kind, title = escape(kind), escape(title)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}: {kind.lower()}</title>
<style>
{resource(__package__, "page.css")}{styles}</style>
</head>
<body>
<header>
<p class="kind">{kind}</p>
<h1>{title}</h1>
<p class="about">{about}</p>
</header>
<main>
{main}
</main>
<script>
{script}</script>
</body>
</html>
"""


def resource(package: str, name: str) -> str:
    """A text file of a package."""
    return files(package).joinpath(name).read_text(encoding="utf-8")
