"""One config model a stage: its fields are the CLI's options, the Python keywords and what the manifest saves.

A field marked `Positional` is an argument of the command line, one marked `Place` (``out``, ``overwrite``, ``json``)
says where or how to answer and is no part of what the stage computes: it is left out of `identity`.

A stage with a field ``preset`` has presets: YAML files of options in ``config/presets/STAGE/``, one a preset, with the
reason for each value beside it. A preset gives way to a config file, and both to an option.
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from synthcxr.errors import UsageError

PRESETS = Path(__file__).parent / "presets"
POSITIONAL = {"positional": True}
PLACE = {"place": True}

Out = Annotated[Path, Field(description="The folder to write.", json_schema_extra=PLACE)]
Seed = Annotated[int, Field(ge=0, lt=2**63, description="Seed of everything random.")]
Workers = Annotated[int, Field(ge=0, description="Worker processes; 0 takes one a core.", json_schema_extra=PLACE)]
Device = Annotated[
    Literal["auto", "cpu", "cuda", "xpu", "mps"],
    Field(description="Where to compute; auto takes the fastest here."),
]
DType = Annotated[
    Literal["auto", "float32", "float16", "bfloat16"],
    Field(description="Number format; auto fits it to the device."),
]


class StageConfig(BaseModel):
    """What all stages share."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: ClassVar[str] = ""
    """The verb, where the stage has presets: the folder that they lie in."""

    overwrite: Annotated[
        bool,
        Field(description="Replace what synthcxr wrote to the output folder before.", json_schema_extra=PLACE),
    ] = False

    @model_validator(mode="before")
    @classmethod
    def _lay_over_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {**cls.read_preset(values.get("preset")), **values}

    @classmethod
    def read_preset(cls, name: Any) -> dict[str, Any]:
        """The options of one of the stage's presets; none for None, or for a name that validation will refuse."""
        file = PRESETS / cls.stage / f"{name}.yaml"
        return read_yaml(file) if cls.stage and isinstance(name, str) and file.is_file() else {}

    def identity(self) -> dict[str, Any]:
        """The config as a manifest saves and compares it: every field that changes what comes out."""
        kept = {
            name
            for name, field in type(self).model_fields.items()
            if not (isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("place"))
        }
        return self.model_dump(mode="json", include=kept)

    def as_arguments(self) -> list[str]:
        """The command-line arguments that give this config: what differs from the preset and the defaults."""
        arguments: list[str] = []
        preset = self.read_preset(getattr(self, "preset", None))
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            untold = preset.get(name, field.get_default(call_default_factory=True))
            if value == untold and (name in preset or not field.is_required()):
                continue
            extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
            flag = "--" + name.replace("_", "-")
            if extra.get("positional"):
                arguments[:0] = map(str, value if isinstance(value, list) else [value])
            elif isinstance(value, bool):
                arguments.append(flag if value else flag.replace("--", "--no-", 1))
            elif isinstance(value, list):
                arguments += [word for one in value for word in (flag, str(one))]
            else:
                arguments += [flag, str(value)]
        return arguments

    @classmethod
    def load(cls, values: dict[str, Any], file: Path | None = None) -> Self:
        """Build a config from a YAML file and options, over their preset if they name one.

        An option wins over the file, and the file over the preset. Raises UsageError in plain words.
        """
        merged = {**(read_yaml(file) if file else {}), **values}
        try:
            return cls(**merged)
        except ValidationError as error:
            raise UsageError(explain(error)) from None


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a YAML file of options."""
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"The config file {file} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"The config file {file} must hold options as `name: value` lines.")
    return {str(key).replace("-", "_"): value for key, value in values.items()}


def explain(error: ValidationError) -> str:
    """A pydantic error as one line a wrong option."""
    lines = []
    for item in error.errors():
        name = "--" + "-".join(str(part) for part in item["loc"]).replace("_", "-") if item["loc"] else "options"
        if item["type"] == "missing":
            lines.append(f"{name} is needed.")
        elif item["type"] == "extra_forbidden":
            lines.append(f"{name} is not an option of this stage.")
        elif item["type"] == "value_error":
            lines.append(item["msg"].removeprefix("Value error, "))
        else:
            lines.append(f"{name}: {item['msg']} (given: {item['input']!r}).")
    return "\n".join(lines)
