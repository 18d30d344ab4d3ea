"""An image drawn again from what it says of itself, beside its set or far from it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from synthcxr.errors import UsageError
from synthcxr.generation.provenance import read_provenance
from synthcxr.generation.reproduce import reproduce
from synthcxr.imagefolder import read_rows
from synthcxr.images import read_grey, read_png_text, write_png
from synthcxr.models import layout
from tests.generation.test_generate import make
from tests.test_cli import call


@pytest.fixture(scope="module")
def image(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last image of a set whose last batch is short, drawn with everything that a sampler can be told."""
    folder = make(
        tiny_model, tmp_path_factory.mktemp("sets") / "set", count=7, batch_size=4, scheduler="lcm", guidance=3.0,
        guidance_end=0.7, guidance_rescale=0.5, negative_prompt="tube",
    )  # fmt: skip
    return read_rows(folder)[-1].path


def test_its_bytes_come_out_again_in_its_set_and_outside(image: Path, tiny_model: Path, tmp_path: Path) -> None:
    inside = reproduce(image)
    assert inside.equal_bytes and inside.differs == () and inside.grey_levels == 0
    moved = Path(shutil.copy(image, tmp_path / "elsewhere.png"))
    with pytest.raises(UsageError, match="not found here"):
        reproduce(moved)
    assert reproduce(moved, str(tiny_model)).equal_bytes


def test_with_other_threads_it_is_drawn_with_as_many_as_then(image: Path) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert reproduce(image).equal_bytes
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)


def test_another_model_is_named_as_what_differs(image: Path, tmp_path: Path) -> None:
    layout.save(layout.build("tiny", seed=1), tmp_path / "other")
    compared = reproduce(image, str(tmp_path / "other"))
    assert not compared.same and [what for what, *_ in compared.differs] == ["model sha256"]
    assert "Not the same" in compared.in_words() and "model sha256 differs" in compared.in_words()


def test_a_changed_pixel_is_found_and_one_grey_level_is_let_pass(image: Path, tiny_model: Path, tmp_path: Path) -> None:
    for change, same in ((1, True), (2, False)):
        pixels = read_grey(image).astype(int)
        pixels[5, 5] += change if pixels[5, 5] < 128 else -change
        write_png(tmp_path / "changed.png", pixels.astype(np.uint8), read_png_text(image))
        compared = reproduce(tmp_path / "changed.png", str(tiny_model))
        assert (compared.same, compared.equal_bytes, compared.grey_levels) == (same, False, change)
    assert "changed after it was drawn" in compared.in_words()


def test_other_versions_are_named(image: Path, tiny_model: Path, tmp_path: Path) -> None:
    text = read_png_text(image)
    text["synthcxr"] = text["synthcxr"].replace(f'"torch": "{torch.__version__}"', '"torch": "1.0"')
    write_png(tmp_path / "old.png", read_grey(image), text)
    compared = reproduce(tmp_path / "old.png", str(tiny_model))
    assert compared.differs == (("torch", "1.0", torch.__version__),) and compared.in_words().startswith("Equal pixels")


def test_the_command_line_says_it_with_its_exit_code(image: Path, tmp_path: Path) -> None:
    done = call("reproduce", image)
    assert (done.returncode, done.stdout) == (0, "Equal bytes.\n"), done.stderr
    write_png(tmp_path / "plain.png", read_grey(image))
    done = call("reproduce", tmp_path / "plain.png")
    assert done.returncode == 2 and "no provenance" in done.stderr
    assert read_provenance(image)["guidance_rescale"] == 0.5
