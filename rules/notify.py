"""What a rule file may say about who is told of what happens in a folder."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Event = Literal["failure", "success", "daily"]

_Line = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^[^\x00\r\n]*$")]
_Mail = Annotated[str, StringConstraints(max_length=320, pattern=r"^[^@\s,;<>]+@[^@\s,;<>]+$")]


class NotifyText(BaseModel):
    """One who is told: a URL, a program, or people; exactly one of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    webhook: Annotated[_Line, StringConstraints(pattern=r"^https?://")] | None = Field(
        None, description="URL that gets the job, signed and tried again like every webhook."
    )
    command: Annotated[list[_Line], Field(min_length=1, max_length=64)] | None = Field(
        None,
        description="Program and arguments, run without a shell; facts come as AUDIOLLA_NOTICE_* "
        "variables and as JSON on standard input. Wants AUDIOLLA_NOTIFY_COMMANDS.",
    )
    email: Annotated[list[_Mail], Field(min_length=1, max_length=64)] | None = Field(
        None, description="Addresses. Failures that come close together share a mail."
    )
    on: Annotated[list[Event], Field(min_length=1)] = Field(
        ["failure"], description="failure, success, and daily: a summary of the day before."
    )
    timeout: float | int = Field(60, gt=0, le=3600, description="Seconds a command may take.")

    @model_validator(mode="before")
    @classmethod
    def _read_on(cls, raw: Any) -> Any:
        """YAML 1.1 reads a bare `on` as true; here it can only be the key."""
        if isinstance(raw, dict) and True in raw and "on" not in raw:
            return {("on" if key is True else key): value for key, value in raw.items()}
        return raw

    @model_validator(mode="after")
    def _one_of_three(self) -> NotifyText:
        given = [name for name in ("webhook", "command", "email") if getattr(self, name)]
        if len(given) != 1:
            told = " and ".join(given) or "none of them"
            raise ValueError(f"takes one of webhook, command and email; it has {told}")
        return self
