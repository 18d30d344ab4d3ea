"""The privacy gate: a set leaves only with a report of its own that counted near-copies and found none too many."""

from pathlib import Path

import pytest

from synthcxr import ExportConfig, export
from synthcxr.cli import main
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.imagefolder import write_rows
from synthcxr.images import write_png
from synthcxr.store import Json, describe_input, open_output, read_manifest
from tests.conftest import made_up_xray


def figure(name: str, value: float | None, low: float | None = None) -> Json:
    return {"name": name, "value": value, "ci_low": low, "expected": 0.01, "reason": None if value else "It is dark."}


HONEST = [figure("near_copy_rate", 0.01, 0.002), figure("pixel_copy_rate", 0.005, 0.001)]
COPIED = [figure("near_copy_rate", 0.2, 0.15), figure("pixel_copy_rate", 0.2, 0.15)]
UNSEEN = [figure("near_copy_rate", None), figure("pixel_copy_rate", None)]
REALISM = [figure("frechet_distance", 12.0, 10.0)]


def make_set(folder: Path, count: int = 3) -> Path:
    with open_output(folder, "set", {"count": count}) as output:
        for i in range(count):
            write_png(folder / "train" / f"{i}.png", made_up_xray(i))
        write_rows(folder, "train", [{"file_name": f"{i}.png", "text": ""} for i in range(count)])
        output.finish(inputs={}, counts={"images": count}, environment={})
    return folder


def make_report(folder: Path, synthetic: Path, metrics: list[Json]) -> Path:
    with open_output(folder, "report", {}) as output:
        output.finish(
            inputs={"synthetic": describe_input(synthetic, folder)}, counts={}, environment={}, metrics=metrics
        )
    return folder


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    return make_set(tmp_path / "set")


def leave(drawn: Path, report: Path, out: Path) -> Path:
    return Path(export(ExportConfig(folder=drawn, to="imagefolder", out=out, privacy_gate=report)))


def test_an_honest_set_passes_and_its_manifest_names_the_report(drawn: Path, tmp_path: Path) -> None:
    report = make_report(tmp_path / "report", drawn, HONEST)
    out = leave(drawn, report, tmp_path / "out")
    assert len(list((out / "train").glob("*.png"))) == 3
    assert read_manifest(out)["privacy_gate"]["manifest_sha256"] == describe_input(report, out)["manifest_sha256"]
    assert "privacy_gate" not in read_manifest(
        Path(export(ExportConfig(folder=drawn, to="imagefolder", out=tmp_path / "ungated")))
    )


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (COPIED, "20.0 % of the images are near-copies of training images (at least 15.0 %)"),
        (UNSEEN, "Near-copies were not counted. It is dark."),
        (REALISM, "Near-copies were not counted."),
    ],
)
def test_a_set_of_copies_and_one_that_nobody_looked_at_are_held_back(
    drawn: Path,
    tmp_path: Path,
    metrics: list[Json],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report, out = make_report(tmp_path / "report", drawn, metrics), tmp_path / "out"
    with pytest.raises(SynthCXRError) as caught:
        leave(drawn, report, out)
    assert said in str(caught.value) and str(caught.value).endswith("Nothing was exported.")
    assert not out.exists()
    arguments = ["export", str(drawn), "--to", "imagefolder", "--out", str(out), "--privacy-gate", str(report)]
    monkeypatch.setattr("sys.argv", ["synthcxr", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1 and "The privacy gate holds" in capsys.readouterr().err and not out.exists()


def test_a_report_of_another_set_or_of_the_set_as_it_was_is_refused(drawn: Path, tmp_path: Path) -> None:
    other = make_report(tmp_path / "other report", make_set(tmp_path / "other", 2), HONEST)
    with pytest.raises(UsageError, match=r"is not a report of .*set as it is now"):
        leave(drawn, other, tmp_path / "out")
    with pytest.raises(UsageError, match="holds a set, where a report is needed"):
        leave(drawn, drawn, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_report_that_was_touched_up_is_refused(drawn: Path, tmp_path: Path) -> None:
    report = make_report(tmp_path / "report", drawn, COPIED)
    file = report / "report.json"
    file.write_text(file.read_text().replace("0.15", "0.0001"))
    with pytest.raises(SynthCXRError, match="is not what its manifest says"):
        leave(drawn, report, tmp_path / "out")


def test_the_gate_is_for_sets(drawn: Path, tmp_path: Path) -> None:
    report = make_report(tmp_path / "report", drawn, HONEST)
    with open_output(tmp_path / "data", "dataset", {}) as output:
        write_png(output.folder / "train" / "a.png", made_up_xray(1))
        write_rows(output.folder, "train", [{"file_name": "a.png", "text": ""}])
        output.finish(inputs={}, counts={"images": 1}, environment={})
    with pytest.raises(UsageError, match="--privacy-gate is for a set"):
        leave(tmp_path / "data", report, tmp_path / "out")
