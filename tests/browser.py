"""A browser for the tests of what the pages say of the Web UI:  python -m tests.browser gets it where it is missing."""

from support.script import UserError, within

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
from playwright.async_api import Browser, async_playwright
from playwright.sync_api import sync_playwright

MISSING = (
    "There is no Chromium: `make test` gets it on Debian as root; elsewhere: "
    ".venv/bin/python -m playwright install --with-deps chromium"
)
CLOSE_TIMEOUT = 20.0  # Seconds.
# As root, Chromium has no sandbox of its own; and it is not to look for anything outside this machine.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--no-first-run"]


def find() -> str | None:
    """Return the path of Chromium, of the system's or of Playwright's own, or None."""
    if found := shutil.which("chromium"):
        return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


def get() -> None:
    """Install Debian's Chromium if this is Debian and we are root, or in CI Playwright's, unless there is one."""
    if find():
        return
    release = Path("/etc/os-release")
    if release.exists() and "ID=debian" in release.read_text().splitlines() and os.geteuid() == 0:
        print("Getting Chromium for the tests of the Web UI (once, 100 MB) ...", flush=True)
        install = ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        if subprocess.run(install, env=environment, stdout=subprocess.DEVNULL).returncode != 0:
            subprocess.run(["apt-get", "update", "-qq"])  # A new machine has no list of packages yet.
            subprocess.run(install, env=environment, stdout=subprocess.DEVNULL)
    elif os.environ.get("CI") == "true":
        subprocess.run([sys.executable, "-m", "playwright", "install", "--with-deps", "chromium"])


@asynccontextmanager
async def running() -> AsyncIterator[Browser]:
    """Run the browser. Raises `UserError` if there is none.

    One that does not close in time is killed.
    """
    async with async_playwright() as playwright:
        path = shutil.which("chromium") or playwright.chromium.executable_path
        if not Path(path).exists():
            raise UserError(MISSING)
        before = {*psutil.Process().children(recursive=True)}
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        started = {*psutil.Process().children(recursive=True)} - before
        try:
            yield browser
        finally:
            try:
                await within(CLOSE_TIMEOUT, browser.close())
            except asyncio.TimeoutError:
                for process in started:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()


if __name__ == "__main__":
    get()
    print(f"Chromium: {find() or MISSING}")
    sys.exit(1 if find() is None and os.environ.get("CI") == "true" else 0)
