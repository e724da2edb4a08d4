"""What torchvision's `Resize` and `CenterCrop` make of Pillow's images, for tests without it.

Regenerate torchvision_center.json, from the root of the repository, where torchvision and the
Pillow of the tests are installed:
    PYTHONPATH=tests python -m golden.torchvision_center
"""

import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GOLDEN = Path(__file__).with_suffix(".json")

# Height and width of images: both orientations, odd and even, of every ratio.
SHAPES = [
    *((32, 32), (32, 33), (33, 32), (35, 47), (36, 64), (37, 4000), (4000, 41), (48, 100)),
    *((63, 64), (64, 63), (97, 131), (100, 75), (127, 255), (128, 96), (150, 200), (199, 301)),
    *((224, 224), (224, 225), (225, 224), (240, 320), (255, 256), (256, 255), (256, 341)),
    *((257, 391), (300, 400), (333, 500), (375, 500), (500, 333), (500, 375), (501, 335)),
    *((640, 427), (427, 640), (683, 1024), (768, 1023), (1001, 999), (1080, 1920), (1067, 1601)),
    *((1933, 1287), (2048, 1365), (2000, 3001), (2448, 3264), (3024, 4000), (4000, 2667)),
    *((4000, 4000), (3999, 3997)),
]
# The network's input, and the share of the resized side that is cropped.
CROPS = [(32, 0.875), (96, 1.0), (224, 0.875), (224, 1.0), (299, 0.875), (331, 0.95), (513, 0.8)]
PIXELS_OF = (224, 0.875)  # the pixels of every shape; of other crops, those of every fifth


def picture(height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """An image without a repeating line or column, `uint8[H, W, C]`, by whole numbers alone."""
    y, x, c = np.ogrid[:height, :width, :channels]
    return ((y * y * 3 + x * x * 5 + x * y * 7 + c * 5003) // 64 % 256).astype(np.uint8)


def digest(pixels: NDArray[np.uint8]) -> str:
    """SHA-256 of the bytes of pixels, in hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def as_pillow(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def main() -> None:
    import PIL
    import torchvision
    from torchvision import transforms

    cases = []
    for number, (height, width) in enumerate(SHAPES):
        channels = 1 if number % 3 == 2 else 3
        image = as_pillow(picture(height, width, channels))
        for size, share in CROPS:
            resized = transforms.Resize(round(size / share))(image)
            crop = transforms.CenterCrop(size)
            # Where the crop lies is read from an image of the positions of its own pixels.
            positions = np.arange(resized.width * resized.height, dtype=np.int32)
            numbered = Image.fromarray(positions.reshape(resized.height, resized.width))
            case = {
                "height": height,
                "width": width,
                "channels": channels,
                "size": size,
                "share": share,
                "resized": [resized.height, resized.width],
                "crop": divmod(int(np.asarray(crop(numbered))[0, 0]), resized.width),
            }
            if (size, share) == PIXELS_OF or number % 5 == 0:
                case["sha256"] = digest(np.asarray(crop(resized)))
            cases.append(json.dumps(case))
    versions = json.dumps({"pillow": PIL.__version__, "torchvision": torchvision.__version__})
    lines = ",\n  ".join(cases)
    GOLDEN.write_text(f'{{"versions": {versions},\n "cases": [\n  {lines}\n]}}\n')


if __name__ == "__main__":
    main()
