"""A headless Chromium whose microphone plays a sound file, driven by the DevTools protocol."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def program():
    """The path of a Chromium, named by CHROMIUM or found among the programs; None if there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def until(found, seconds, what):
    """The first true value that `found()` gives within so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return value


class Tab:
    """One page of a browser."""

    def __init__(self, socket):
        self._socket, self._numbers = socket, itertools.count(1)

    def send(self, method, **parameters):
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv(timeout=120))).get("id") != number:
            pass  # events
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, address):
        self.send("Page.navigate", url=address)

    def run(self, script):
        """The value of an expression in the page, as if the user had clicked."""
        result = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, script, seconds):
        """The value of an expression, once it is true."""
        return until(lambda: self.run(script), seconds, f"{script} is not true after {seconds} s")

    def screenshot(self, path, whole=True):
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def chromium(folder, microphone, size=(1200, 900)):
    """A tab of a new browser, whose profile lies in `folder` and whose microphone plays the WAV file `microphone`."""
    options = (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0",
        f"--user-data-dir={folder}", f"--window-size={size[0]},{size[1]}", "--no-first-run",
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}",
    )  # fmt: skip
    with subprocess.Popen([program(), *options, "about:blank"], stderr=subprocess.DEVNULL) as process:
        try:
            active = Path(folder) / "DevToolsActivePort"
            until(lambda: active.is_file() and active.read_text().count("\n"), 60, "Chromium does not start")
            port = active.read_text().split("\n")[0]
            with urlopen(f"http://127.0.0.1:{port}/json") as listed:
                (page,) = [target for target in json.load(listed) if target["type"] == "page"]
            with connect(page["webSocketDebuggerUrl"], max_size=None) as socket:
                tab = Tab(socket)
                tab.send("Page.enable")
                yield tab
        finally:
            process.terminate()
