"""The page of a run."""

from pathlib import Path

from synthcxr.images import write_png
from synthcxr.report.run import PAGE, loss_chart, write_run_report
from tests.conftest import made_up_xray

LOG = [{"step": 10 * n, "loss": 1.0 / n, "learning_rate": 1e-4, "images_per_second": 5.0} for n in range(1, 6)]
ABOUT = {
    "config": {"method": "lora", "steps": 50, "epochs": None, "dora": False},
    "counts": {"steps": 50, "images": 1200, "patients": 900, "images_seen": 400},
    "hours": 0.25,
    "environment": {"device": "cpu", "dtype": "float32"},
}


def look(step: int, loss: float) -> dict[str, float]:
    return {
        "step": step, "loss": loss, "held_out_loss": loss, "n_drawn": 40, "n_real": 60, "frechet_distance": 10 * loss,
        "frechet_low": 9 * loss, "frechet_high": 11 * loss, "near_copy_rate": 0.025, "near_copy_low": 0.004,
        "near_copy_high": 0.13, "near_copy_expected": 0.01,
    }  # fmt: skip


def test_the_page_says_what_the_logs_say(tmp_path: Path) -> None:
    for step in range(10, 100, 10):
        write_png(tmp_path / "samples" / f"step-{step:06d}.png", made_up_xray(step))
    write_run_report(tmp_path, LOG, [look(25, 0.5), look(50, 0.7)], ["Overfitting: <b>."], ABOUT)
    page = (tmp_path / PAGE).read_text()
    assert "lowest at step 25 (0.5)" in page and "from 1 to 0.2" in page and "1,200 images" in page
    assert "Overfitting: &lt;b&gt;." in page and "4.50–5.50" in page and "2.5 %" in page
    assert "Step 90" in page and page.count("data:image/png") == 6
    assert "http" not in page.replace("http-equiv", "") and "epochs" not in page and "dora" not in page


def test_a_run_without_looks_has_a_page(tmp_path: Path) -> None:
    write_run_report(tmp_path, LOG[:1], [], [], ABOUT)
    page = (tmp_path / PAGE).read_text()
    assert "Nobody looked at held-out patients" in page and "Fréchet" not in page
    assert "held-out loss" not in loss_chart(LOG, [])


def test_a_page_with_real_images_says_so(tmp_path: Path) -> None:
    write_png(tmp_path / "samples" / "step-000010.png", made_up_xray(1))
    for method, words in (("autoencoder", "shows X-rays of the dataset"), ("full", "Not of persons")):
        write_run_report(tmp_path, LOG, [], [], {**ABOUT, "config": {"method": method}})
        assert words in (tmp_path / PAGE).read_text()
