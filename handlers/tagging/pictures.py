"""Pictures in a file's tags: as somebody gives them, and as they are shown."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from handlers.codecs.files import InputFile
from handlers.declare import NamesSound
from handlers.errors import BadParameter
from handlers.tagging.images import look
from handlers.tagging.names import Picture
from handlers.units import Bytes, Pixels

PictureType = Literal[
    "other", "icon", "other_icon", "front_cover", "back_cover", "leaflet", "media",
    "lead_artist", "artist", "conductor", "band", "composer", "lyricist", "location",
    "during_recording", "during_performance", "screen_capture", "fish", "illustration",
    "artist_logo", "publisher_logo",
]  # fmt: skip
"""What a picture shows, in the order of ID3v2's numbers (section 4.14 of its frames)."""

TYPES: tuple[PictureType, ...] = PictureType.__args__  # type: ignore[attr-defined]

#: A FLAC block's length has 24 bits, some of which the picture's description takes.
MAX_PICTURE = (1 << 24) - 65536


class NewPicture(BaseModel):
    """A picture to put in: a file, or the picture itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Annotated[str | None, NamesSound("covers")] = Field(
        None, description="Path of a JPEG, PNG, GIF or WebP file, as in file_path."
    )
    data: str | None = Field(None, description="The picture itself, as base64.")
    type: PictureType = Field("front_cover", description="What it shows.")
    description: str = Field("", max_length=200, description="A word about it.")

    @model_validator(mode="after")
    def _one_source(self) -> NewPicture:
        if (self.file is None) == (self.data is None):
            raise ValueError("a picture needs exactly one of file and data")
        return self


class PictureFacts(BaseModel):
    """A picture in a file. Its size in pixels is None where its kind is not known."""

    model_config = ConfigDict(frozen=True)

    type: str
    mime: str
    description: str
    size_bytes: Bytes
    width: Pixels | None
    height: Pixels | None


def shown(picture: Picture) -> PictureFacts:
    """What is said of a picture."""
    mime, kind, description, data = picture
    seen = look(data)
    return PictureFacts(
        type=TYPES[kind] if 0 <= kind < len(TYPES) else "other",
        # Tags are often wrong about it; the picture is not.
        mime=seen.mime if seen else mime,
        description=description,
        size_bytes=len(data),
        width=seen.width if seen else None,
        height=seen.height if seen else None,
    )


def loaded(number: int, new: NewPicture, open_file: Callable[[str], InputFile]) -> Picture:
    """The picture itself, from the file that it names or from its text.

    Raises:
        BadParameter: it is none, or has more than 16 MB.
    """
    where = f"pictures[{number}]"
    if new.data is not None:
        try:
            data = base64.b64decode(new.data, validate=True)
        except binascii.Error as wrong:
            raise BadParameter(f"{where}.data is no base64: {wrong}", field=where) from None
    else:
        file = open_file(new.file or "")
        data = file.read(min(file.size, MAX_PICTURE + 1), 0)
    if len(data) > MAX_PICTURE:
        raise BadParameter(f"{where} has more than {MAX_PICTURE} bytes", field=where)
    seen = look(data)
    if seen is None or not seen.width or not seen.height:
        raise BadParameter(f"{where} is no JPEG, PNG, GIF or WebP picture", field=where)
    return seen.mime, TYPES.index(new.type), new.description, data
