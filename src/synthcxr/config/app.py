"""`app`: the whole road in a browser."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from synthcxr.config.base import POSITIONAL, StageConfig


class AppConfig(StageConfig):
    """Open the web app on a workspace, a folder that holds all that is made in it."""

    workspace: Annotated[
        Path, Field(description="Folder to work in; made where it is missing.", json_schema_extra=POSITIONAL)
    ] = Path("synthcxr-workspace")
    host: Annotated[
        str,
        Field(description="Address to listen on; the default is open to this machine alone, others need a password."),
    ] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 7860
    password_file: Annotated[
        Path | None,
        Field(description="File whose first line is the password; else SYNTHCXR_PASSWORD of the environment."),
    ] = None
    site: Annotated[
        list[str],
        Field(description="Other names that browsers reach the app by, as behind a proxy: cxr.example.org"),
    ] = []
    quota_gb: Annotated[float | None, Field(gt=0, description="Most that the workspace may hold.")] = None
    upload_gb: Annotated[float, Field(gt=0, description="Largest upload.")] = 0.25
