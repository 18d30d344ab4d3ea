"""Draw the pictures of the README and the model card anew with the bundled model: uncurated, set seed 0.

The card goes into the model's folder as well, its picture left out.
"""

import tempfile
from pathlib import Path

from synthcxr import GenerateConfig, generate
from synthcxr.demonstration import write_prompts
from synthcxr.imagefolder import read_rows
from synthcxr.images import contact_sheet, read_grey, write_png
from synthcxr.models.registry import BUNDLED
from synthcxr.store import write_bytes

PICTURES = Path(__file__).parent / "pictures"


def main() -> None:
    """One sheet of 64 images for the card, its first 16 for the README."""
    with tempfile.TemporaryDirectory() as place:
        prompts = write_prompts(Path(place) / "prompts.jsonl", 64)
        out = generate(
            GenerateConfig(model="bundled", prompts=prompts, out=Path(place) / "set", steps=25, scheduler="dpm++")
        )
        images = [read_grey(row.path) for row in read_rows(out)]
    write_png(PICTURES / "sheet.png", contact_sheet(images[:16], columns=8, gap=2))
    write_png(PICTURES / "sheet-64.png", contact_sheet(images, columns=8, gap=2))
    card = (PICTURES.parent / "model-card.md").read_text(encoding="utf-8")
    write_bytes(BUNDLED / "README.md", without_picture(card).encode())


def without_picture(card: str) -> str:
    """The card's text without its sheet and what is said of it."""
    return "\n\n".join(part for part in card.split("\n\n") if not part.startswith(("![", "*The first 64")))


if __name__ == "__main__":
    main()
