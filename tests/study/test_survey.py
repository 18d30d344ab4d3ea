import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthcxr.errors import UsageError
from synthcxr.imagefolder import read_rows
from synthcxr.images import Grey, read_grey, resize, write_png
from synthcxr.study.survey import SAME, check_apart, survey, thumbnail
from synthcxr.study.telltales import FIGURES, blocks, compare, figures, gaps

from .piles import plain_folder, rough, smooth

DATA = Path(__file__).parents[3] / "shared" / "data"


def through_jpeg(image: Grey, quality: int) -> Grey:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def xrays(count: int) -> list[Grey]:
    files = sorted(path for path in (DATA / "nih").rglob("*.jpg"))[:count] if DATA.is_dir() else []
    if not files:
        pytest.skip("no real X-rays here")
    return [read_grey(path) for path in files]


def test_a_real_xray_is_known_again_and_two_are_told_apart() -> None:
    found = xrays(40)
    thumbs = np.array([thumbnail(image) for image in found])
    alike = thumbs @ thumbs.T - 2 * np.eye(len(thumbs))
    assert alike.max() < SAME - 0.01
    for image, thumb in zip(found, thumbs, strict=True):
        height, width = image.shape
        for other in (
            resize(image, width // 2, height // 2),
            through_jpeg(image, 50),
            resize(image, 301, 301 * height // width),
        ):
            assert thumb @ thumbnail(other) > SAME


def test_a_resampled_copy_in_the_other_pile_is_found(tmp_path: Path) -> None:
    pictures = [resize(rough(i, 12), 64, 64) for i in range(6)]
    real = plain_folder(tmp_path / "real", pictures)
    made = plain_folder(tmp_path / "made", [smooth(i, 64) for i in range(3)])
    piles = [survey(folder, read_rows(folder)) for folder in (real, made)]
    check_apart(*piles)
    write_png(made / "copy.png", through_jpeg(resize(pictures[4], 48, 48), 80))
    with pytest.raises(UsageError, match=r"img4\.png and .*copy\.png are the same picture"):
        check_apart(piles[0], survey(made, read_rows(made)))


def test_figures_find_what_they_are_named_after() -> None:
    ramp = resize(rough(0, 13), 64, 64)
    assert gaps(np.arange(256, dtype=np.uint8).reshape(16, 16)) == 0
    assert gaps((np.arange(128, dtype=np.uint8) * 2).reshape(8, 16)) == pytest.approx(127 / 255)
    assert blocks(through_jpeg(ramp, 3)) > blocks(ramp) + 0.3
    padded = np.zeros((40, 80), np.uint8)
    padded[:, 20:70] = resize(ramp, 50, 40)
    assert figures(padded)["flat bars at the edges"] == pytest.approx(30 / 120)
    assert figures(padded)["black or white pixels"] >= 30 / 80
    assert figures(rough(1, 64))["fine detail"] > 3 * figures(ramp)["fine detail"]


def test_what_separates_the_piles_is_named_and_what_does_not_is_not() -> None:
    pictures = [resize(rough(i, 13), 64, 64) for i in range(30)]
    ours = [figures(image) for image in pictures]
    same = compare(ours[:15], ours[15:])
    assert sum(row.tells for row in same) <= 1  # of seven at 5 %
    blocked = compare(ours[:15], [figures(through_jpeg(image, 3)) for image in pictures[15:]])
    told = {row.name: row for row in blocked}
    assert set(told) == set(FIGURES)
    assert (told["8 by 8 grid"].area, told["8 by 8 grid"].tells) == (1.0, True)
