"""One config model a stage: its fields are the CLI's options, the Python keywords and what the manifest saves."""

from synthcxr.config.app import AppConfig
from synthcxr.config.base import StageConfig
from synthcxr.config.clean import CleanConfig
from synthcxr.config.demo import DemoConfig
from synthcxr.config.edit import EditConfig
from synthcxr.config.evaluate import EvaluateConfig
from synthcxr.config.export import ExportConfig
from synthcxr.config.generate import GenerateConfig
from synthcxr.config.prepare import PrepareConfig
from synthcxr.config.study import (
    StudyAmendConfig,
    StudyAnalyzeConfig,
    StudyImportConfig,
    StudyNewConfig,
    StudyPowerConfig,
    StudyServeConfig,
    StudySimulateConfig,
)
from synthcxr.config.train import TrainConfig

__all__ = [
    "AppConfig",
    "CleanConfig",
    "DemoConfig",
    "EditConfig",
    "EvaluateConfig",
    "ExportConfig",
    "GenerateConfig",
    "PrepareConfig",
    "StageConfig",
    "StudyAmendConfig",
    "StudyAnalyzeConfig",
    "StudyImportConfig",
    "StudyNewConfig",
    "StudyPowerConfig",
    "StudyServeConfig",
    "StudySimulateConfig",
    "TrainConfig",
]
