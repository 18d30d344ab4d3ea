"""Synthetic chest X-rays that can be defended.

The stages of the road are functions that take their config and return the folder they wrote::

    from synthcxr import GenerateConfig, generate
    generate(GenerateConfig(model="bundled", prompt="PA chest X-ray of a 60-year-old woman", out="set"))

Everything is imported when it is first asked for, so that ``import synthcxr`` costs nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "prepare": "synthcxr.data.prepare",
    "PrepareConfig": "synthcxr.config",
    "train": "synthcxr.training.train",
    "TrainConfig": "synthcxr.config",
    "generate": "synthcxr.generation.generate",
    "GenerateConfig": "synthcxr.config",
    "clean": "synthcxr.cleaning.clean",
    "CleanConfig": "synthcxr.config",
    "evaluate": "synthcxr.evaluation.evaluate",
    "EvaluateConfig": "synthcxr.config",
    "demo": "synthcxr.demonstration",
    "new_study": "synthcxr.study.new",
    "StudyNewConfig": "synthcxr.config",
    "import_answers": "synthcxr.study.importing",
    "StudyImportConfig": "synthcxr.config",
    "analyze": "synthcxr.study.analyze",
    "StudyAnalyzeConfig": "synthcxr.config",
    "edit": "synthcxr.generation.edit",
    "EditConfig": "synthcxr.config",
    "DemoConfig": "synthcxr.config",
    "export": "synthcxr.exporting",
    "ExportConfig": "synthcxr.config",
}

_OWN_NAMES = {"new_study": "new"}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), _OWN_NAMES.get(name, name))
    raise AttributeError(f"module 'synthcxr' has no attribute {name!r}")
