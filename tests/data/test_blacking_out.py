"""What a hospital's own report tells of a patient beside names: blacked out where ids are hashed."""

import csv
from pathlib import Path

import pytest

from synthcxr import PrepareConfig, prepare
from synthcxr.data.reports.deidentification import BLANK, black_out
from synthcxr.images import write_png
from tests.conftest import made_up_xray

TELLING = (
    "12/03/2019", "2019-02-03", "1.2.1950", "March 12, 2019", "12 March 2019", "3rd Feb 2020", "March 12", "in 2017",
    "14:35", "2:05 pm", "555-123-4567", "030 1234 5678", "MRN 1234567",
)  # fmt: skip


@pytest.mark.parametrize("words", TELLING)
def test_dates_times_and_long_numbers(words: str) -> None:
    blacked = black_out(f"Nodule seen {words} in the right lung.")
    assert BLANK in blacked and not any(part.isdigit() and len(part) > 1 for part in blacked.split())
    assert blacked.startswith("Nodule seen ") and blacked.endswith(" in the right lung.")


@pytest.mark.parametrize(
    "words",
    [
        "3.5 cm",
        "2.3 x 1.2 cm",
        "T10-11",
        "the 4th rib",
        "L1 to L3",
        "58-year-old",
        "grade 2/6",
        "may be",
        "12 mm",
        "5-6 mm",
    ],
)
def test_what_a_picture_shows_stays(words: str) -> None:
    assert black_out(f"A nodule, {words}, is seen.") == f"A nodule, {words}, is seen."


def test_none_of_it_is_in_a_dataset_with_hashed_ids(tmp_path: Path) -> None:
    secrets = ("12/03/2019", "555-123-4567", "1234567", "2019-02-03")
    report = (
        f"FINDINGS: Nodule dated {secrets[0]} in the right lung. Small effusion. Call {secrets[1]}. MRN {secrets[2]}."
    )
    source = tmp_path / "in"
    for number in range(2):
        write_png(source / f"{number}.png", made_up_xray(number, 128))
    with (source / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file_name", "patient_id", "report", "text"))
        writer.writerow(("0.png", "p0", report, ""))
        writer.writerow(("1.png", "p1", "", f"Chest X-ray of {secrets[3]} with effusion."))
    out = prepare(
        PrepareConfig(
            source_path=source,
            out=tmp_path / "out",
            key=tmp_path / "key",
            ids="hash",
            prompt_style="findings",
            resolution=64,
            skip_checks=["all"],
        )
    )
    written = b"".join(path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file())
    assert b"effusion" in written
    assert not [secret for secret in secrets if secret.encode() in written]
