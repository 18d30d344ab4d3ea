"""How an image was made, written into the image itself."""

import json
from pathlib import Path
from typing import Any

from synthcxr.errors import UsageError
from synthcxr.images import read_png_text

DISCLAIMER = "Synthetic chest X-ray. Not of a person. Not for diagnosis."
EDITED = "Edited by a generative model from a chest X-ray that is, or may be, of a patient. Not for diagnosis."
KEY = "synthcxr"
REAL, SYNTHETIC, UNKNOWN = "real", "synthetic", "unknown"
"""What an edited image was made from, as its field `parent_kind` says."""


def png_text(row: dict[str, Any], made_by: dict[str, Any]) -> dict[str, str]:
    """PNG text fields: all of it as JSON under ``synthcxr``, and the line that web UIs' viewers read.

    `row` is the image's row of metadata.jsonl; `made_by` has model, hashes, versions, device, and the manifest of the
    run that the model is of.
    """
    parameters = (
        f"{row['text']}\nNegative prompt: {row['negative_prompt']}\n"
        f"Steps: {row['steps']}, Sampler: {row['scheduler']}, CFG scale: {row['guidance']}, Seed: {row['seed']}, "
        f"Size: {row['width']}x{row['height']}, Model hash: {made_by['model_sha256'][:10]}, Model: {made_by['model']}"
    )
    return {
        "parameters": parameters,
        KEY: json.dumps({**row, **made_by}, ensure_ascii=False, sort_keys=True),
        "Description": DISCLAIMER,
        "Software": f"synthcxr {made_by['environment']['synthcxr']}",
    }


def read_provenance(path: Path) -> dict[str, Any]:
    """What an image says of its making. Raises UsageError where it says nothing."""
    text = read_png_text(path)
    if KEY not in text:
        raise UsageError(
            f"{path} carries no provenance: it was not drawn by synthcxr, or its text fields were removed."
        )
    return dict(json.loads(text[KEY]))
