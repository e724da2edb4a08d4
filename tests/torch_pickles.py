"""Files of PyTorch made by hand, without it: what it would never write, and what it would."""

import io
import pickle
import zipfile

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
START = b"\x80\x02"  # of protocol 2; a pickle ends with a dot


def body(value):
    """A value's opcodes, to be put into another pickle."""
    return pickle.dumps(value, protocol=2).removeprefix(START).removesuffix(b".")


def tensor(size, stride, offset=0, *, key="0", type=b"torch\nFloatStorage", count=6):
    storage = b"(" + body("storage") + b"c" + type + b"\n" + body(key) + body("cpu") + body(count)
    view = body(offset) + body(size) + body(stride) + body(False) + b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"tQ" + view + b"tR"


def mapping(entries):
    """A dict of values that are opcodes already."""
    return b"}(" + b"".join(body(key) + value for key, value in entries.items()) + b"u"


def old(opcodes, storages):
    """A file of the older format, with float32 storages by key."""
    pickles = [pickle.dumps(value, protocol=2) for value in (MAGIC, VERSION, {})]
    pickles += [START + opcodes + b".", pickle.dumps(list(storages), protocol=2)]
    return b"".join(
        pickles + [len(a).to_bytes(8, "little") + a.tobytes() for a in storages.values()]
    )


def zipped(opcodes, storages, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("archive/data.pkl", START + opcodes + b".")
        for key, array in storages.items():
            archive.writestr(f"archive/data/{key}", array.tobytes())
    return file.getvalue()


def state(arrays):
    """A file of the older format with a bare state dict of float32 arrays."""
    return old(_state(arrays, ""), _storages(arrays, ""))


def states(by_key):
    """A file of the older format with several state dicts of float32 arrays, by key."""
    storages = {}
    for key, arrays in by_key.items():
        storages |= _storages(arrays, key)
    return old(mapping({key: _state(arrays, key) for key, arrays in by_key.items()}), storages)


def _state(arrays, prefix):
    return mapping(
        {
            name: tensor(
                a.shape,
                tuple(step // a.itemsize for step in a.strides),
                key=prefix + name,
                count=a.size,
            )
            for name, a in arrays.items()
        }
    )


def _storages(arrays, prefix):
    return {prefix + name: np.ravel(a) for name, a in arrays.items()}
