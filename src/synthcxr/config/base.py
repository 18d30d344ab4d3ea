"""One config model a stage: its fields are the CLI's options, the Python keywords and what the manifest saves.

A field marked `Positional` is an argument of the command line, one marked `Place` (``out``, ``overwrite``, ``json``)
says where or how to answer and is no part of what the stage computes: it is left out of `identity`.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from synthcxr.errors import UsageError

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

    overwrite: Annotated[
        bool,
        Field(description="Replace what synthcxr wrote to the output folder before.", json_schema_extra=PLACE),
    ] = False

    def identity(self) -> dict[str, Any]:
        """The config as a manifest saves and compares it: every field that changes what comes out."""
        kept = {
            name
            for name, field in type(self).model_fields.items()
            if not (isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("place"))
        }
        return self.model_dump(mode="json", include=kept)

    def as_arguments(self) -> list[str]:
        """The command-line arguments that give this config: what differs from the defaults."""
        arguments: list[str] = []
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if not field.is_required() and value == field.get_default(call_default_factory=True):
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
        """Build a config from a YAML file and options; an option wins. Raises UsageError in plain words."""
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
