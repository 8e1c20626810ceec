"""What the site does to pages: links to files that are no pages become the names of these files."""

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Returns a page whose links lead to pages of the site alone."""
    folder = (DOCS / page.file.src_uri).parent

    def kept(link: re.Match[str]) -> str:
        target = (folder / link["target"].partition("#")[0]).resolve()
        return link[0] if target.is_relative_to(DOCS) and target.is_file() else link["text"]

    return re.sub(r"(?<!!)\[(?P<text>[^\]]+)\]\((?!https?:|#)(?P<target>[^)]+)\)", kept, markdown)
