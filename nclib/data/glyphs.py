"""Letters of five scripts, rendered on the fly from the fonts that ship with matplotlib.

Nothing is downloaded: a letter is drawn once per style, then every image gets its own style, affine
distortion, contrast and noise, all from one seed.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from nclib.data.augmentation import distort
from nclib.data.pixels import as_bytes, normal
from nclib.seeds import seeded

SCRIPTS = {
    "latin": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    "greek": "αβγδεζηθικλμνξοπρστυφχψω",
    "cyrillic": "абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
    "armenian": "".join(map(chr, range(0x0561, 0x0587))),
    "georgian": "".join(map(chr, range(0x10D0, 0x10F1))),
}
STYLES = tuple(
    f"DejaVu{family}.ttf"
    for family in (
        *("Sans", "Sans-Bold", "Sans-Oblique", "Sans-BoldOblique"),
        *("SansMono", "SansMono-Bold", "SansMono-Oblique", "SansMono-BoldOblique"),
        *("Serif", "Serif-Bold", "Serif-Italic", "Serif-BoldItalic"),
    )
)
SIZE = 28  # pixels a side
_OVERSAMPLING = 2  # letters are drawn and distorted at twice the size, then averaged down
_FONT_PIXELS = 40  # at the drawn size: a capital fills about half of the image


def render(script: str, per_class: int, *, seed: int, split: str) -> tuple[Tensor, Tensor]:
    """Render `per_class` images of every letter of a script.

    Returns images, uint8 (K * per_class, 1, 28, 28), and labels, int64 (K * per_class,), ordered by
    class. The same arguments give the same images; different splits use different random numbers.
    """
    images, labels = _rendered(script, per_class, seed, split)
    return images.clone(), labels.clone()  # the cache keeps its own


@lru_cache(maxsize=16)  # a study asks for the same few sets hundreds of times
def _rendered(script: str, per_class: int, seed: int, split: str) -> tuple[Tensor, Tensor]:
    letters = _drawn(script)  # (styles, K, 56, 56)
    labels = torch.arange(letters.shape[1]).repeat_interleave(per_class)
    generator = seeded("glyphs", script, split, seed)
    styles = torch.randint(len(letters), (len(labels),), generator=generator)
    images = letters[styles, labels].unsqueeze(1).double()  # (N, 1, 56, 56)
    images = avg_pool2d(distort(images, 1.0, generator), _OVERSAMPLING)
    images = _photograph(images, generator)
    return as_bytes(255 * images), labels


def _photograph(images: Tensor, generator: torch.Generator) -> Tensor:
    """Give every image its own paper, ink and grain; stay in [0, 1]."""
    count = len(images)
    paper, ink, grain = torch.rand((3, count, 1, 1, 1), generator=generator, dtype=torch.float32).double()
    paper, ink, grain = 0.35 * paper, 0.55 + 0.45 * ink, 0.02 + 0.10 * grain
    return (paper + (ink - paper) * images + grain * normal(images.shape, generator)).clamp(0, 1)


@lru_cache
def _drawn(script: str) -> Tensor:
    """Every letter of the script in every style, float32 (styles, K, 56, 56) in [0, 1]."""
    import matplotlib  # only for the folder of its fonts
    from PIL import ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [ImageFont.truetype(folder / style, _FONT_PIXELS, layout_engine=ImageFont.Layout.BASIC) for style in STYLES]
    return torch.stack([torch.stack([_draw(font, c) for c in SCRIPTS[script]]) for font in fonts])


def _draw(font, letter: str) -> Tensor:
    """One letter, centred; all letters have the same font size, so o and O stay different."""
    from PIL import Image, ImageDraw

    side = SIZE * _OVERSAMPLING
    image = Image.new("L", (side, side))
    left, top, right, bottom = font.getbbox(letter)
    corner = ((side - left - right) / 2, (side - top - bottom) / 2)
    ImageDraw.Draw(image).text(corner, letter, fill=255, font=font)
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255)
