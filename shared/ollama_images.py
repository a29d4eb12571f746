"""Images as Ollama's clients send them, plain base64, as parts of a message. Pure."""

import base64
import binascii
from collections.abc import Sequence

from portal.shared.errors import InvalidRequest
from portal.shared.messages import ImagePart, Part, TextPart

LOOKED_AT = 24
"""Characters of an image that tell what it is; the rest is its backend's to judge."""
SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
)


def content_of(place: str, text: str, images: Sequence[str] | None) -> str | tuple[Part, ...]:
    """Join a text and its images. Raises InvalidRequest with the image's place, below `place`."""
    if not images:
        return text
    parts: list[Part] = [TextPart(text)] if text else []
    for index, image in enumerate(images):
        parts.append(ImagePart(f"data:{_media_type(f'{place}[{index}]', image)};base64,{image}"))
    return tuple(parts)


def _media_type(place: str, image: str) -> str:
    """Tell an image's media type by its first bytes. Raises InvalidRequest for no base64."""
    try:
        start = base64.b64decode(image[:LOOKED_AT], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"`{place}` is not base64: {error}.", param=place) from error
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "image/webp"
    for signature, kind in SIGNATURES:
        if start.startswith(signature):
            return f"image/{kind}"
    raise InvalidRequest(
        f"`{place}` is no PNG, JPEG, WebP, GIF, BMP or TIFF by its first bytes.", param=place
    )
