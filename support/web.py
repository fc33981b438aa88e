"""Pages on this machine that answer.

`python -m support.web http://127.0.0.1:9090/-/ready` waits for a minute until each address on its command line answers.
"""

import http.client
import signal
import sys
import time
import urllib.request

PATIENCE = 60.0  # Seconds.


def read_page(url: str, timeout: float = 5) -> bytes:
    """Return what this address answers, without any proxy. Raises `OSError` if it does not within `timeout` seconds."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout) as response:
            body: bytes = response.read()
    except http.client.HTTPException as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
    return body


def wait_for_pages(urls: list[str]) -> str | None:
    """Wait until all addresses answer. Returns None, or the address that does not within a minute."""
    deadline = time.monotonic() + PATIENCE
    for url in urls:
        while True:
            try:
                read_page(url, timeout=2)
                break
            except OSError:
                if time.monotonic() > deadline:
                    return url
                time.sleep(0.5)
    return None


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends this without a traceback.
    if silent := wait_for_pages(sys.argv[1:]):
        sys.exit(f"{silent} does not answer. What the containers say: docker logs, with the names from docker ps -a")
