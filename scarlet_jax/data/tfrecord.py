"""TFRECORD files by index: records are found by scanning their headers once.

A record is its length (uint64), the length's checksum (uint32), its bytes and their checksum
(uint32), little-endian. The length's checksum is checked for every record; that of the bytes
is not, which would take longer than decoding the image.
"""

import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tensorboardX.record_writer import masked_crc32c

from scarlet_jax.errors import InputError

HEADER = struct.Struct("<QI")
FOOTER_BYTES = 4


def scan(path: Path) -> NDArray[np.int64]:
    """Where each of the N records starts, and where the last one ends: `int64[N + 1]`.

    Raises:
      InputError: if the file is truncated or a header does not fit its checksum.
    """
    offsets = [0]
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        while offsets[-1] < size:
            header = os.pread(file.fileno(), HEADER.size, offsets[-1])
            if len(header) == HEADER.size:
                length, checksum = HEADER.unpack(header)
                if checksum != masked_crc32c(header[:8]):
                    raise InputError(
                        f"{path} is damaged: the header of record {len(offsets) - 1} does not "
                        "fit its checksum; prepare the data set again"
                    )
                offsets.append(offsets[-1] + HEADER.size + length + FOOTER_BYTES)
            if len(header) < HEADER.size or offsets[-1] > size:
                raise InputError(
                    f"{path} is truncated: it ends after {size} bytes, in the middle of a "
                    "record; prepare the data set again"
                )
    return np.array(offsets, np.int64)


def read(path: Path, start: int, end: int) -> bytes:
    """The bytes of the record from offset `start` to `end` as `scan` gives them."""
    with open(path, "rb", buffering=0) as file:
        length = end - start - HEADER.size - FOOTER_BYTES
        return os.pread(file.fileno(), length, start + HEADER.size)
