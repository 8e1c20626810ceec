"""Turns an image file's pixels, of whatever mode, into the 8-bit colours or greys that a viewer shows."""

import functools
import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageCms import ImageCmsTransform

# Images whose brightest value is below this fraction of the range look black: a sensor of 12 bits in a file of 16 has a
# brightest value of 1/16. Such files are refused, because no rule can say what their white is.
DARK = 1 / 8
# The tag of a TIFF file that says which value is black; 0 there means that 0 is white.
PHOTOMETRIC = 262
# The tag of EXIF data that says how a camera was held.
ORIENTATION = 0x0112


class ImageSpec(NamedTuple):
    """The size and channels that images are brought to.

    Attributes:
        size: The side of the square image, in pixels.
        channels: 3 for colours, 1 for grey.
        crop: The side of the central square that is kept of a larger image; 0 for the largest square.
    """

    size: int
    channels: int
    crop: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an image, `(size, size, channels)`."""
        return self.size, self.size, self.channels


def resize_crop(image: "Image", spec: ImageSpec) -> np.ndarray:
    """Returns the central square of an image as a viewer shows it, resized by a Lanczos filter: uint8 `spec.shape`.

    Raises:
        ValueError: if the values of the image are not those of a known range; see `deep_levels`.
    """
    from PIL import Image, ImageOps

    profile, wanted = image.info.get("icc_profile"), "RGB" if spec.channels == 3 else "L"
    image = _plain(_on_white(_shallow(image)))
    to_srgb = _to_srgb(profile, image.mode) if profile else None
    if not to_srgb:
        image = image.convert(wanted)
    if spec.crop:
        width, height = (min(spec.crop, side) for side in image.size)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    resized = ImageOps.fit(image, (spec.size, spec.size), Image.Resampling.LANCZOS)
    if to_srgb:  # The profile is applied to the small image, which costs less and differs by rounding.
        resized = (to_srgb.apply(resized)).convert(wanted)
    return np.asarray(resized).reshape(spec.shape)


def is_deep(image: "Image") -> bool:
    """Returns whether an image has pixels of 16 or 32 bits, which `deep_levels` brings to 8."""
    return image.mode.startswith("I") or image.mode == "F"


def brightest(image: "Image") -> float | None:
    """Returns the largest value of an image of 16 or 32 bits as a fraction of its range; None for 8 bits.

    Raises:
        ValueError: as `deep_levels` does.
    """
    if is_deep(image):
        return float(deep_levels(image).max()) / 255
    # Pillow reads colours of 16 bits as their upper 8 bits, and only the decoder's arguments say so.
    return float(np.asarray(image).max()) / 255 if ";16" in str(getattr(image, "tile", "")) else None


def deep_levels(image: "Image") -> np.ndarray:
    """Returns the pixels of a deep image on the scale 0 to 255, float32 or integers `[h, w]`.

    16 bits are 0 to 65535, as in every format that has them; floats are 0 to 1; integers of 32 bits, which have no
    usual white, are 0 to 255.

    Raises:
        ValueError: if a value is out of that range, and what to do then.
    """
    values = np.asarray(image)
    # Pillow gives grey of 16 bits in PNG and PGM as integers of 32 bits, except newer versions and PNG.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        levels = values >> 8
        inverted = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0
        shown: np.ndarray = 255 - levels if inverted else levels
        return np.where(values == image.info.get("transparency", -1), 255, shown)  # A viewer shows white paper there.
    low, high = values.min(), values.max()
    white, kind = (1, "floats") if image.mode == "F" else (255, "integers of 32 bits (or 16 with a sign)")
    if not 0 <= low <= high <= white:  # NaN fails this comparison too.
        raise ValueError(
            f"its pixels are {kind} from {low:.6g} to {high:.6g}, and which of them is white is unknown; scale them to "
            f"0 … {white}, or save all images with 8 bits, from 0 to 255"
        )
    return np.rint(values * np.float32(255 / white))


def _shallow(image: "Image") -> "Image":
    """Returns an image of 8 bits, turned as its EXIF data say."""
    from PIL import Image, ImageOps

    if is_deep(image):
        levels = Image.fromarray(deep_levels(image).astype(np.uint8))
        levels.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
        image = levels
    return ImageOps.exif_transpose(image)


def _on_white(image: "Image") -> "Image":
    """Returns an image whose transparent pixels let white paper through."""
    from PIL import Image

    if not image.has_transparency_data:
        return image
    grey = image.mode in ("L", "LA", "La", "I;16")
    image = image.convert("LA" if image.mode == "La" else "RGBA")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("L" if grey else "RGB")


def _plain(image: "Image") -> "Image":
    """Returns an image in one of the modes that colour profiles are made for: L, RGB or CMYK."""
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("L" if image.mode == "1" else "RGB")


@functools.lru_cache(maxsize=64)
def _to_srgb(profile: bytes, mode: str) -> "ImageCmsTransform | None":
    """Returns the transform of a colour profile to sRGB; None if it changes nothing to see, or cannot be used.

    A viewer ignores a profile that is damaged or belongs to another mode, and so does this function.
    """
    from PIL import Image, ImageCms

    try:
        transform = ImageCms.buildTransform(io.BytesIO(profile), ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, ImportError, OSError, TypeError, ValueError):
        return None
    if mode == "RGB":  # Most files carry sRGB itself, and their pixels must not change by rounding.
        steps = np.linspace(0, 255, 9).astype(np.uint8)
        colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
        seen = np.asarray(transform.apply(Image.fromarray(colours)), np.int16)
        if np.abs(seen - colours).max() <= 2:
            return None
    return transform
