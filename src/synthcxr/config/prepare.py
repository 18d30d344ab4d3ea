"""`prepare`: sources to a dataset."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from synthcxr.config.base import PLACE, POSITIONAL, Out, StageConfig, Workers

STRATA = ("sex", "view", "age", "findings")


class PrepareConfig(StageConfig):
    """Turn X-rays and what is known of them into a checked dataset."""

    source_path: Annotated[
        Path, Field(description="Folder of images, or the metadata.csv.", json_schema_extra=POSITIONAL)
    ]
    out: Out
    source: Annotated[
        Literal[
            "auto",
            "dicom",
            "mimic",
            "chexpert",
            "nih",
            "padchest",
            "openi",
            "vindr",
            "siim",
            "kermany",
            "csv",
            "folder",
            "imagefolder",
        ],
        Field(description="How the source is laid out; auto recognises it, and says as what and why."),
    ] = "auto"
    resolution: Annotated[
        int,
        Field(ge=32, le=4096, multiple_of=8, description="Side of the square images written, in pixels (see --crop)."),
    ] = 256
    crop: Annotated[
        Literal["center", "pad", "bucket"],
        Field(
            description="center: short side to the resolution, central square; pad: long side to it, black borders; "
            "bucket: of some sizes with as many pixels as the square, the one nearest to the image's own aspect."
        ),
    ] = "center"
    window: Annotated[
        str,
        Field(
            pattern=r"^(auto|percentile|-?\d+(\.\d+)?/\d*[1-9]\d*(\.\d+)?)$",
            description="Grey levels of a DICOM: auto (its own window or table, else percentiles), percentile, or "
            "CENTER/WIDTH in the units of its Window Center.",
        ),
    ] = "auto"
    frames: Annotated[Literal["reject", "first"], Field(description="What becomes of a DICOM of several frames.")] = (
        "reject"
    )
    burned_in: Annotated[
        Literal["off", "flag", "clean", "reject"],
        Field(description="Look for burned-in text: flag it in the row, remove it, or reject the image."),
    ] = "off"
    prompt_style: Annotated[
        Literal["structured", "labels", "findings", "impression", "mixture"],
        Field(
            description="What prompts say: structured (view, age, sex, findings), labels (findings alone), the "
            "report's findings or impression, or a mixture of all, one an image."
        ),
    ] = "structured"
    tokenizer: Annotated[
        str,
        Field(description="Model whose text encoder the prompts are to fit: a name, a diffusers folder or a hub id."),
    ] = "bundled"
    priors: Annotated[
        Literal["drop", "keep"],
        Field(description="Sentences of a report on what is not in the picture, such as earlier images."),
    ] = "drop"
    ids: Annotated[
        Literal["auto", "hash", "keep"],
        Field(
            description="Patient, study and file names: keyed hashes, or as they are; auto keeps only the pseudonyms "
            "of public collections."
        ),
    ] = "auto"
    key: Annotated[
        Path | None,
        Field(
            description="File of the secret key of the hashes, made where it is missing; default: in your home folder.",
            json_schema_extra=PLACE,
        ),
    ] = None
    skip_checks: Annotated[
        list[str],
        Field(description="Rules of the quality gate to leave out, by name, or all."),
    ] = []
    format: Annotated[
        Literal["imagefolder", "webdataset", "parquet"], Field(description="Form in which the dataset is written.")
    ] = "imagefolder"
    stratify: Annotated[
        str | None,
        Field(
            description="Fields (of sex, view, age, findings) whose mix all splits are to have; such a split changes "
            "when images are added."
        ),
    ] = None
    split: Annotated[
        str,
        Field(
            description="Percent of patients for train/validation/test as 60/10/30, by a hash of the patient id; or "
            "official, the publisher's own; auto takes the official one where there is one, else 60/10/30."
        ),
    ] = "auto"
    patient_pattern: Annotated[
        str | None,
        Field(
            description="Regular expression whose first group is the patient, where ids carry more (e.g. '^(P\\d+)')."
        ),
    ] = None
    missing_age: Annotated[
        str | None, Field(description="Age in years, or a range as 1-5, of the rows that state none.")
    ] = None
    name: Annotated[
        str | None,
        Field(description="Name of the source in rows and reports; default: its folder's, or if hashed, its kind."),
    ] = None
    licence: Annotated[str, Field(description="Licence and terms of the source, kept in every manifest after it.")] = (
        "unknown"
    )
    limit: Annotated[int | None, Field(ge=1, description="Take only the first N images.")] = None
    workers: Workers = 0

    @model_validator(mode="after")
    def _options_make_sense(self) -> Self:
        self.split_percent()
        self.missing_age_range()
        if unknown := [name for name in self.strata() if name not in STRATA]:
            raise ValueError(f"--stratify takes {', '.join(STRATA)}, not {unknown[0]!r}.")
        if self.strata() and self.split == "official":
            raise ValueError("--stratify makes splits of its own; it does not go with --split official.")
        try:
            groups = re.compile(self.patient_pattern or "()").groups
        except re.error as error:
            raise ValueError(f"--patient-pattern is no regular expression: {error}.") from None
        if groups < 1:
            raise ValueError("--patient-pattern needs a group in parentheses: what it matches is the patient.")
        return self

    def missing_age_range(self) -> tuple[int, int] | None:
        """Youngest and oldest, in years, of the rows that state no age."""
        if self.missing_age is None:
            return None
        match = re.fullmatch(r"\s*(\d{1,3})(?:\s*-\s*(\d{1,3}))?\s*", self.missing_age)
        youngest, oldest = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not youngest <= oldest <= 120:
            raise ValueError(f"--missing-age must be years or a range as 1-5, not {self.missing_age!r}.")
        return youngest, oldest

    def strata(self) -> list[str]:
        """The fields by which splits are stratified."""
        return [name.strip() for name in (self.stratify or "").split(",") if name.strip()]

    def split_percent(self) -> tuple[int, int, int]:
        """Percent of patients for training, validation and test, where no official split says it."""
        try:
            wanted = "60/10/30" if self.split in ("auto", "official") else self.split
            train, validation, test = (int(part) for part in wanted.split("/"))
        except ValueError:
            raise ValueError(
                f"--split must be auto, official, or three whole percentages as 60/10/30, not {self.split!r}."
            ) from None
        if min(train, validation, test) < 0 or train + validation + test != 100:
            raise ValueError(f"--split must add up to 100, and {self.split!r} does not.")
        return train, validation, test
