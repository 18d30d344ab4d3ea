"""The stages by verb: the config that says what to do, and the function that does it."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from synthcxr import config as configs


@dataclass(frozen=True)
class Stage:
    """A verb of the command line: its options are the fields of `config`, its work is `function` (``module:name``)."""

    verb: str
    config: type[configs.StageConfig]
    function: str

    def run(self, config: configs.StageConfig) -> Any:
        """Do the work; the module is imported only now, as most of them are heavy."""
        module, name = self.function.split(":")
        return getattr(import_module(module), name)(config)


STAGES: dict[str, Stage] = {
    stage.verb: stage
    for stage in (
        Stage("prepare", configs.PrepareConfig, "synthcxr.data.prepare:prepare"),
        Stage("train", configs.TrainConfig, "synthcxr.training.train:train"),
        Stage("generate", configs.GenerateConfig, "synthcxr.generation.generate:generate"),
        Stage("clean", configs.CleanConfig, "synthcxr.cleaning.clean:clean"),
        Stage("evaluate", configs.EvaluateConfig, "synthcxr.evaluation.evaluate:evaluate"),
        Stage("app", configs.AppConfig, "synthcxr.app.server:serve"),
        Stage("demo", configs.DemoConfig, "synthcxr.demonstration:demo"),
        Stage("edit", configs.EditConfig, "synthcxr.generation.edit:edit"),
        Stage("export", configs.ExportConfig, "synthcxr.exporting:export"),
        Stage("study new", configs.StudyNewConfig, "synthcxr.study.new:new"),
        Stage("study power", configs.StudyPowerConfig, "synthcxr.study.power:power"),
        Stage("study amend", configs.StudyAmendConfig, "synthcxr.study.amending:amend"),
        Stage("study serve", configs.StudyServeConfig, "synthcxr.study.serving.server:serve"),
        Stage("study simulate", configs.StudySimulateConfig, "synthcxr.study.simulate:simulate"),
        Stage("study import", configs.StudyImportConfig, "synthcxr.study.importing:import_answers"),
        Stage("study analyze", configs.StudyAnalyzeConfig, "synthcxr.study.analyze:analyze"),
    )
}
"""Every stage, by its verb."""
