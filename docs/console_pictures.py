"""Take the README's pictures of the console, of the demo's simulated feed.

Run ``make demo`` and then ``.venv/bin/python docs/console_pictures.py``; needs Chromium. With
``--all`` dark and narrow windows come too, to be looked at.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from polyrank.bundle import load_bundle
from polyrank.serving.host import hosted
from polyrank.serving.http import bind, serving, url_of
from polyrank.serving.settings import ServeSettings

REQUESTS = 60
DRAGGED = "purchase"
COLORS, MARGIN = 128, 12
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
PICTURES = {"console": (1400, "light"), "console_narrow": (380, "light")}
FURTHER = {"console_dark": (1400, "dark"), "console_narrow_dark": (380, "dark")}


def bodies(bundle: Path, log: Path) -> list[dict[str, Any]]:
    """Requests of the log, each with its candidates by features."""
    schema = load_bundle(bundle).schema
    columns = {feature.column: feature.side for feature in schema.features}
    request, item = str(schema.keys.request), str(schema.keys.item)
    table = pq.read_table(log)
    found = []
    for name in pc.unique(table[request]).slice(0, REQUESTS).to_pylist():
        rows = table.filter(pc.equal(table[request], pa.scalar(name))).to_pylist()
        by_side = [
            [c for c, side in columns.items() if (side == "user") is u] for u in (True, False)
        ]
        of_user, of_row = by_side
        entries = [
            {"id": row[item], "features": {c: row[c] for c in of_row if c != item}} for row in rows
        ]
        user = {"features": {c: rows[0][c] for c in of_user}}
        found.append({"user": user, "candidates": entries})
    return found


def take(
    browser: Browser, url: str, body: dict[str, Any], file: Path, look: tuple[int, Any]
) -> None:
    """One picture: a request under another weight of one task."""
    width, scheme = look
    window = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = window.new_page()
    page.goto(f"{url}/console")
    page.wait_for_selector("tbody tr td.text")
    flat = re.compile(r'\[\n[^\[\]{}"]*\]')
    text = flat.sub(
        lambda found: f"[{' '.join(found[0][1:-1].split())}]", json.dumps(body, indent=1)
    )
    page.fill("#body", text)
    page.click("#rank")
    _settle(page)
    slider = page.locator(f"#sliders input[type=range][aria-label^={DRAGGED}]")
    slider.focus()
    for _ in range(75):
        page.keyboard.press("ArrowLeft")
    _settle(page)
    slider.blur()
    page.evaluate("scrollTo(0, 0)")
    page.evaluate("document.getElementById('body').scrollTop = 0")
    page.screenshot(path=file, full_page=True, clip=_part(page, width))
    with Image.open(file) as picture:
        picture.convert("RGB").quantize(COLORS).save(file, optimize=True)
    told = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    print(f"{file}: {file.stat().st_size / 1000:.0f} kB, {told} pixels too wide")
    window.close()


def _part(page: Page, width: int) -> Any:
    """All of a wide page; of a narrow one, which is long, weights and ranking."""
    last, first = ("#live", "header") if width > 800 else ("#result", "#value")
    boxes = [page.locator(name).bounding_box() for name in (first, "#value", last)]
    start = max(boxes[0]["y"] - MARGIN, 0) if boxes[0] else 0
    end = max(box["y"] + box["height"] for box in boxes if box)
    return {"x": 0, "y": start, "width": width, "height": end + MARGIN - start}


def _settle(page: Page) -> None:
    """Until the ranking and the live part are drawn anew."""
    page.wait_for_timeout(2_500)


def main() -> None:
    """Serve the demo's bundle and look at it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    parser.add_argument("--all", action="store_true")
    given = parser.parse_args()
    bundle = given.demo / "run" / "bundle"
    asked = bodies(bundle, given.demo / "last_day.parquet")
    settings = ServeSettings(models={"demo": bundle})
    given.out.mkdir(parents=True, exist_ok=True)
    with (
        hosted(settings) as guard,
        bind("127.0.0.1", 0) as listener,
        serving(guard, listener),
        httpx.Client(base_url=url_of(listener), timeout=60) as client,
        sync_playwright() as playwright,
    ):
        for body in asked:
            client.post("/v1/rank", json=body).raise_for_status()
        path = shutil.which("chromium")
        arguments = ["--no-sandbox", "--disable-gpu", *QUIET]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        for name, look in (PICTURES | (FURTHER if given.all else {})).items():
            take(browser, url_of(listener), asked[0], given.out / f"{name}.png", look)
        browser.close()


if __name__ == "__main__":
    main()
