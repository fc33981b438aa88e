"""Takes the pages' pictures of the Web UI:  python -m scripts.take_pictures

It needs Chromium, `pip install -e '.[docs]'`, and a server on which these have completed:

    python temporal_client.py v1 --clusters cluster1
    python temporal_client.py v6
"""

from support import PROJECT

import argparse
import asyncio
import shutil
import sys

from playwright.async_api import Page, async_playwright

DOCS = PROJECT / "docs"
UI = "http://localhost:8233/namespaces/default/workflows"


async def take_all(chromium: str) -> None:
    """Take all pictures with the browser at this path."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = await browser.new_page(viewport={"width": 1280, "height": 1400})

        await page.goto(f"{UI}/system-patch-v1")
        await page.get_by_role("button", name="Descending").click()  # The first event on top, as in the text.
        await shoot(page, "timeline_v1", top=640, height=620)

        await page.goto(f"{UI}/system-patch-v6")
        await page.get_by_text("Relationships").first.click()
        await shoot(page, "tree_v6", top=270, height=640)
        await browser.close()


async def shoot(page: Page, name: str, top: int, height: int) -> None:
    """Keep what the page looks like, from `top` on and `height` pixels high, as docs/`name`.png."""
    await page.wait_for_timeout(3000)  # The Web UI draws by animations, which have no end to wait for.
    await page.screenshot(path=DOCS / f"{name}.png", clip={"x": 64, "y": top, "width": 1216, "height": height})


def main() -> None:
    """Read the command line and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser's program")
    arguments = parser.parse_args()
    if arguments.chromium is None:
        sys.exit("There is no Chromium on PATH: install it, or name it with --chromium.")
    asyncio.run(take_all(arguments.chromium))


if __name__ == "__main__":
    main()
