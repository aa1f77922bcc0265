"""The app in a browser: it records from the microphone, and shows the face."""

import shutil
import socket
import subprocess
import sys
import time
from urllib.request import urlopen

import browser
import pytest
import soundfile
import tiny_models
from repository import ROOT

from s2f.signal.audio import SAMPLE_RATE

pytestmark = pytest.mark.skipif(
    browser.program() is None,
    reason="no Chromium is installed (CHROMIUM names one): the app was not tried in a browser",
)
START = 180  # seconds for a server, a kernel and a browser, on a busy machine
FACE = "document.querySelector('.s2f-faces img')?.src"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study with models and nothing else."""
    root = tmp_path_factory.mktemp("app")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, root)
    (root / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / "00_explore.ipynb", root / "notebooks")
    (root / "models").mkdir()
    tiny_models.network(root / "models")
    return root


@pytest.fixture(scope="module")
def app(study):
    """The address of the app, as `make app` starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "voila", "notebooks/00_explore.ipynb", "--no-browser", f"--port={port}"]
    with subprocess.Popen([*command, "--Voila.ip=127.0.0.1"], cwd=study, stderr=subprocess.DEVNULL) as server:
        address = f"http://127.0.0.1:{port}"
        browser.until(
            lambda: answers(address + "/voila/static/voila.js") or server.poll() is not None, START, "no server"
        )
        assert server.poll() is None
        yield address
        server.terminate()


def answers(address):
    try:
        return urlopen(address).status == 200
    except OSError:
        return False


def test_a_voice_from_the_microphone_gets_a_face_and_leaves_no_file(app, study, spoken, tmp_path):
    soundfile.write(tmp_path / "voice.wav", spoken(7.0), SAMPLE_RATE)
    before = {path: path.stat().st_mtime_ns for path in study.rglob("*")}
    with browser.chromium(tmp_path / "profile", tmp_path / "voice.wav") as tab:
        tab.open(app)
        tab.wait("document.querySelector('.s2f-record') !== null", START)
        assert tab.run(FACE) is None
        # On a busy machine the sound may come with holes, in which nothing is found: then once more, as a user would.
        for last in (False, False, True):
            tab.run("document.querySelector('.s2f-record').click()")
            recorded = "document.querySelector('.s2f-record.s2f-on + * + * + .s2f-state')?.textContent"
            tab.wait(f"parseFloat({recorded}) >= 5", 60)
            tab.run("document.querySelector('.s2f-record').click()")
            start = time.monotonic()
            try:
                tab.wait(f"({FACE} ?? '').startsWith('data:image/png')", 60)
                break
            except AssertionError:
                if last:
                    raise
        print(f"the face stood there {time.monotonic() - start:.1f} s after the recording")  # 3 s are promised
        tab.wait("document.querySelector('.s2f-state').textContent.endsWith('s of speech')", 60)
        assert "never use it to identify anybody" in tab.run("document.body.textContent")
        assert tab.run("document.querySelector('.s2f-download').download") == "face.png"
    assert {path: path.stat().st_mtime_ns for path in study.rglob("*")} == before


def test_a_file_that_is_no_sound_gets_a_sentence(app, spoken, tmp_path):
    soundfile.write(tmp_path / "voice.wav", spoken(7.0), SAMPLE_RATE)
    choose = """(() => {
        const input = document.querySelector('.s2f-file input'), chosen = new DataTransfer();
        chosen.items.add(new File(['no sound'], 'letter.txt'));
        input.files = chosen.files;
        input.dispatchEvent(new Event('change'));
    })()"""
    with browser.chromium(tmp_path / "profile", tmp_path / "voice.wav") as tab:
        tab.open(app)
        tab.wait("document.querySelector('.s2f-record') !== null", START)
        tab.run(choose)
        tab.wait("document.querySelector('.s2f-state').textContent.startsWith('letter.txt is not audio')", 60)
        assert tab.run(FACE) is None
