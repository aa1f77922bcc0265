"""Pictures, sounds and sentences as widgets, which show the same in JupyterLab and on a web page."""

import base64
import html
import io
from collections.abc import Mapping, Sequence

import ipywidgets as widgets
import numpy as np
import soundfile
from jaxtyping import Int16, UInt8
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from s2f.plots import style
from s2f.signal.audio import SAMPLE_RATE

LOOK = """<style>
.s2f-faces { display: flex; flex-wrap: wrap; gap: 1.4em; align-items: flex-start; margin: 0.4em 0; }
.s2f-faces figure { margin: 0; max-width: 100%; }
.s2f-faces img { display: block; height: 14em; max-width: 100%; object-fit: contain; border-radius: 3px; }
.s2f-faces.s2f-small img { height: 7em; }
.s2f-faces figcaption { color: #555; margin-top: 0.3em; max-width: 15em; line-height: 1.35; }
.s2f-text p { margin: 0.5em 0; max-width: 48em; line-height: 1.5; }
.s2f-text p.s2f-strong { font-weight: 600; }
.s2f-download { display: inline-block; border: 1px solid #1f3b73; border-radius: 4px; padding: 0.3em 1em; }
.s2f-download, .s2f-download:visited { color: #1f3b73; text-decoration: none; }
</style>"""


def png(image: UInt8[np.ndarray, "height width 3"], **texts: str) -> bytes:
    """A PNG file, with texts such as `Description` in its metadata."""
    notes, file = PngInfo(), io.BytesIO()
    for keyword, text in texts.items():
        notes.add_text(keyword, text)
    Image.fromarray(image).save(file, format="PNG", pnginfo=notes)
    return file.getvalue()


def faces(shown: Mapping[str, UInt8[np.ndarray, "height width 3"]], small: bool = False) -> widgets.HTML:
    """Pictures beside one another, by their captions."""
    figures = []
    for caption, image in shown.items():
        words = html.escape(caption)
        source = _data(png(image), "image/png")
        figures.append(f'<figure><img src="{source}" alt="{words}"><figcaption>{words}</figcaption></figure>')
    return widgets.HTML(f'<div class="s2f-faces{" s2f-small" if small else ""}">{"".join(figures)}</div>')


def plot(figure: Figure, words: str) -> widgets.HTML:
    """A figure of `s2f.plots`, with an alternative text."""
    file = io.BytesIO()
    figure.savefig(file, dpi=style.DPI)
    source, look = _data(file.getvalue(), "image/png"), f"width: {6 * figure.get_figwidth():.0f}em; max-width: 100%"
    return widgets.HTML(f'<img src="{source}" alt="{html.escape(words)}" style="{look}">')


def sound(wave: Int16[np.ndarray, "samples"]) -> widgets.HTML:
    """A player."""
    file = io.BytesIO()
    soundfile.write(file, wave, SAMPLE_RATE, format="WAV")
    return widgets.HTML(f'<audio controls src="{_data(file.getvalue(), "audio/wav")}"></audio>')


def sentences(*lines: str, strong: str = "") -> widgets.HTML:
    """A paragraph for each line that is not empty, the `strong` one first."""
    marked = [f'<p class="s2f-strong">{html.escape(strong)}</p>'] if strong else []
    plain = [f"<p>{html.escape(line)}</p>" for line in lines if line]
    return widgets.HTML(f'<div class="s2f-text">{"".join(marked + plain)}</div>')


def download(file: bytes, name: str, words: str) -> widgets.HTML:
    """A link that saves a PNG file."""
    link = f'class="s2f-download" download="{html.escape(name)}" href="{_data(file, "image/png")}"'
    return widgets.HTML(f"<a {link}>{html.escape(words)}</a>")


def labelled(rows: Mapping[str, Sequence[widgets.Widget]]) -> widgets.VBox:
    """Controls in rows, each row with its label in front."""
    wide = widgets.Layout(width="12em", flex="0 0 auto")
    wrap = widgets.Layout(flex_flow="row wrap", align_items="center")
    return widgets.VBox(
        [widgets.HBox([widgets.Label(name, layout=wide), *parts], layout=wrap) for name, parts in rows.items()]
    )


def _data(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
