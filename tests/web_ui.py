"""The Web UI in a real browser, and pictures of it."""

from support.connection import web_ui_link
from support.histories import Handle
from tests import browser

import asyncio
import contextlib
import io
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from PIL import Image
from playwright.async_api import FloatRect, Locator, Page, TimeoutError
from temporalio.client import Client

WIDTH, WIDE, HEIGHT = 1440, 2000, 1600  # Pixels. Wide, for the list of children.
SIDEBAR, MARGIN = 256, 12
PATIENCE = 60_000  # Milliseconds, for whatever is to appear. A query without a worker takes half a minute.
# Milliseconds, for what a page does at once when a button is pressed, and for Chromium to hand over a picture.
ANSWER_PATIENCE, SHOT_PATIENCE = 5_000, 15_000
LARGEST_PICTURE, COLORS = 150_000, 128  # Bytes.


class WebUi:
    """A page of the Web UI, and which of its words were seen."""

    def __init__(self, client: Client, page: Page, pictures: Path) -> None:
        self.client = client
        self.page = page
        self.pictures = pictures
        self.seen: set[str] = set()

    async def open(self, run: Handle) -> None:
        """Open the link to a run that a client prints."""
        await self.page.goto(web_ui_link(self.client, run.id, run.result_run_id))

    async def sees(self, *texts: str) -> None:
        """Wait until all these texts are on the page, in capitals or not as they are given."""
        for text in texts:
            try:
                await self.page.wait_for_function("text => document.body.innerText.includes(text)", arg=text)
            except TimeoutError as error:
                shown = await self.page.inner_text("main")
                raise AssertionError(f"{text!r} is not on {self.page.url}, but:\n{shown}") from error
        self.seen |= {*texts}

    async def tab(self, name: str) -> None:
        """Open one of a run's tabs, by several clicks if need be: a page that is not quite there takes no notice."""
        opened = self.page.get_by_role("tab", name=name, selected=True)
        while not await opened.count():
            await self.page.get_by_role("tab", name=name).click()
            await asyncio.sleep(0.2)
        self.seen.add(name)

    async def press(self, name: str, within: Locator | None = None) -> None:
        """Press a button with exactly this label."""
        await (within or self.page).get_by_role("button", name=name, exact=True).click()
        self.seen.add(name)

    async def choose(self, menu: str, name: str) -> None:
        """Open a menu by its button, and choose an item in it."""
        await self.press(menu)
        await self.page.get_by_role("menuitem", name=name).click()
        self.seen.add(name)

    async def oldest_first(self) -> None:
        """Turn the list of events, or the timeline, round: it begins with the newest."""
        order = self.page.get_by_role("button", name=re.compile("^(De|A)scending$"))
        while await order.inner_text() == "Descending":  # The page keeps the order that was chosen in another tab.
            await self.press("Descending")
            with contextlib.suppress(TimeoutError):  # A page that is not quite there takes no notice.
                await self.page.get_by_role("button", name="Ascending", exact=True).wait_for(timeout=ANSWER_PATIENCE)
        self.seen.add("Descending")

    async def first_events(self) -> None:
        """Open the list of events at its beginning."""
        await self.tab("Event History")
        await self.page.get_by_role("heading", name="Event History", level=2).wait_for()
        await self.oldest_first()

    def bar(self, text: str) -> Locator:
        """Return the bar or square in the timeline with this text beside it."""
        return self.page.get_by_role("listitem").filter(has_text=text).first

    async def picture(self, name: str, first: Locator, last: Locator | None = None, height: int = 0) -> None:
        """Take a picture of the page from one part down to another, or of so many pixels from the first one's top.

        With neither, of that part only. The Web UI draws by animations, which have no end to wait for: so the picture
        is taken when two in a row are the same. Now and then, Chromium never hands one over: then another is asked for.
        """
        before, taken = b"", b" "
        deadline = time.monotonic() + PATIENCE / 1000
        while before != taken:
            assert time.monotonic() < deadline, f"The page does not come to rest: {name}"
            box = await first.bounding_box()
            end = await last.bounding_box() if last else None
            assert box is not None
            left, right = box["x"], box["x"] + box["width"]
            top, bottom = box["y"], box["y"] + (height or box["height"])
            if height or last:
                assert self.page.viewport_size
                left, right = SIDEBAR, self.page.viewport_size["width"]
            if end:
                bottom = end["y"] + end["height"]
            top, bottom = max(top - MARGIN, 0), min(bottom + MARGIN, HEIGHT)
            clip: FloatRect = {"x": left, "y": top, "width": right - left, "height": bottom - top}
            with contextlib.suppress(TimeoutError):
                before, taken = taken, await self.page.screenshot(clip=clip, timeout=SHOT_PATIENCE)
            await asyncio.sleep(0.1)
        file = self.pictures / f"{name}.png"
        Image.open(io.BytesIO(taken)).quantize(COLORS).save(file, optimize=True)
        assert file.stat().st_size < LARGEST_PICTURE, name


@asynccontextmanager
async def opened(client: Client, pictures: Path) -> AsyncIterator[WebUi]:
    """Open a browser on the Web UI of the server that the client is connected to."""
    async with browser.running() as chromium:
        page = await chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(PATIENCE)
        yield WebUi(client, page, pictures)
