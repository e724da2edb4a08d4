"""Weights in files of PyTorch, read without it and without running what is pickled in them.

A file is a pickle that refers to storages, which lie beside it in a zip archive, or behind it in
the older format (`torch/serialization.py`). The pickle is taken apart as data: nothing is imported
and nothing called, so an object that is not a tensor or a plain container is only a placeholder.
"""

import functools
import io
import math
import os
import pickletools
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from scarlet_jax.errors import InputError, check_one_of
from scarlet_jax.files import as_path, replacing
from scarlet_jax.tensors import Arrays

WRAPPERS = ("model_state", "state_dict", "model")  # what a state dict is mostly under
ITSELF = "."  # the name of the state that is the file's object, not under a key of it
PARALLEL = "module."  # before every name of a module in DataParallel, or in AveragedModel
AVERAGED = "n_averaged"  # beside the names of a module in AveragedModel
MOST_WRAPPINGS = 4  # of a module in such modules
COMPILED = "_orig_mod"  # before the names of a module in torch.compile, whatever it is part of

ZIP_START = b"PK\x03\x04"
OLD_START = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")  # pickled in the first bytes
OLD_START_WITHIN = 32
OLD_PREFACE = 3  # pickles before the object: the magic number, a version, the writer's sizes
COUNT_BYTES = 8  # before each storage of the older format
MOST_AXES = 64  # of an array in NumPy

DTYPES: dict[str, np.dtype[Any]] = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}
OPAQUE = object()  # in the place of everything that is of no use here


@dataclass(frozen=True)
class Global:
    """What a pickle would import, by its name alone."""

    name: str


@dataclass(frozen=True)
class Storage:
    """A reference to numbers: the name of their type, and where they are."""

    type: str
    key: str


@dataclass(frozen=True)
class Tensor:
    """A view of a storage, as the file claims it: in elements, not checked yet."""

    storage: Storage
    offset: Any
    size: Any
    stride: Any


Find = Callable[[Storage], NDArray[Any]]


def read(path: str | os.PathLike[str], state: str = "") -> dict[str, NDArray[Any]]:
    """All tensors of a state dict in a file that `torch.save` wrote.

    The state is the file's object itself, or lies in it under a key such as `WRAPPERS`. Names are
    those of the plain module, whether it was in DataParallel, AveragedModel or torch.compile.

    Args:
      path: of the file.
      state: the key, or `ITSELF`; needed where the file holds several states, such as averages
        beside the weights.

    Returns:
      Read-only arrays by name, of the dtypes in `DTYPES`.

    Raises:
      InputError: for a file that is missing, damaged, of another kind, without such tensors, or
        with several states of which none is named.
    """
    path = as_path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        found, find = _open(path.read_bytes())
        chosen = _choose(_states(found), state, path)
        return {name: _view(name, tensor, find) for name, tensor in chosen.items()}
    except InputError:
        raise
    except Exception as error:  # damage can make the parsers raise anything
        reason = error if isinstance(error, ValueError) else repr(error)
        raise InputError(f"{path} cannot be read as a file of PyTorch: {reason}") from error


def write(path: str | os.PathLike[str], arrays: Arrays) -> None:
    """Writes `{"model_state": arrays}`, whole or not at all, by PyTorch.

    In the older format, which all of its versions read; those before 1.6 read no other.

    Raises:
      InputError: without PyTorch.
      OSError: if the file cannot be written.
    """
    try:
        import torch
    except ImportError as error:
        raise InputError(
            f"{path} takes PyTorch to write: pip install 'scarlet-jax[torch]'"
        ) from error
    state = {name: torch.from_numpy(np.array(a, order="C")) for name, a in arrays.items()}
    with replacing(path) as partial:
        torch.save({WRAPPERS[0]: state}, partial, _use_new_zipfile_serialization=False)


def _open(content: bytes) -> tuple[Any, Find]:
    """The pickled object of a file, and how its storages are found."""
    if content.startswith(ZIP_START):
        return _open_zip(content)
    if OLD_START in content[:OLD_START_WITHIN]:
        return _open_old(content)
    what = "neither a zip archive nor in the older format" if content else "empty"
    raise ValueError(f"it is {what}")


def _open_zip(content: bytes) -> tuple[Any, Find]:
    archive = zipfile.ZipFile(io.BytesIO(content))
    if sum(entry.file_size for entry in archive.infolist()) > len(content):
        raise ValueError("the entries of the archive are larger than the archive")
    names = archive.namelist()
    root = names[0].split("/")[0]
    marker = f"{root}/byteorder"
    order = archive.read(marker).decode() if marker in names else "little"

    @functools.cache
    def find(storage: Storage) -> NDArray[Any]:
        return _numbers(storage, archive.read(f"{root}/data/{storage.key}"), order)

    found, _ = _unpickle(io.BytesIO(archive.read(f"{root}/data.pkl")))
    return found, find


def _open_old(content: bytes) -> tuple[Any, Find]:
    file = io.BytesIO(content)
    for _ in range(OLD_PREFACE):
        _unpickle(file)
    found, storages = _unpickle(file)
    keys, _ = _unpickle(file)
    if not all(isinstance(key, str) for key in keys):
        raise ValueError("its storages are not listed by name")
    start, arrays = file.tell(), {}
    for key in keys:
        storage = storages[key]
        count = int.from_bytes(content[start : start + COUNT_BYTES], "little")
        start += COUNT_BYTES
        end = start + count * _dtype(storage).itemsize
        if end > len(content):
            raise ValueError(f"storage {key!r} ends at byte {end} of {len(content)}")
        # Little-endian, whatever machine wrote it.
        arrays[storage] = _numbers(storage, content[start:end], "little")
        start = end
    return found, arrays.__getitem__


def _numbers(storage: Storage, content: bytes, order: str) -> NDArray[Any]:
    numbers = np.frombuffer(content, _dtype(storage))
    return numbers if order == sys.byteorder else numbers.byteswap()


def _dtype(storage: Storage) -> np.dtype[Any]:
    # The module is torch, or torch.cuda where older versions saved from a GPU.
    module, _, name = storage.type.rpartition(".")
    if module not in ("torch", "torch.cuda") or name not in DTYPES:
        raise ValueError(f"it has a storage of {storage.type!r}; allowed: {', '.join(DTYPES)}")
    return DTYPES[name]


def _states(found: Any) -> dict[str, dict[str, Tensor]]:
    """The state dicts of a file's object by key. Those of modules alone, where there are some:
    their names have dots, unlike those of a loss or of what is counted in tensors."""
    if not isinstance(found, dict):
        return {}
    inner = {key: value for key, value in found.items() if isinstance(value, dict)}
    states = {key: _tensors(value) for key, value in {ITSELF: found, **inner}.items()}
    of_modules = {key: state for key, state in states.items() if any("." in name for name in state)}
    return of_modules or {key: state for key, state in states.items() if state}


def _tensors(state: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a state dict by their names in the plain module."""
    found = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    plain = {
        ".".join(part for part in name.split(".") if part != COMPILED): tensor
        for name, tensor in found.items()
    }
    if len(plain) < len(found):
        raise ValueError(f"it has two tensors of one name, with and without {COMPILED}")
    for _ in range(MOST_WRAPPINGS):
        own = [name for name in plain if name != AVERAGED]
        if own and all(name.startswith(PARALLEL) for name in own):
            plain = {name.removeprefix(PARALLEL): plain[name] for name in own}
    return plain


def _choose(states: dict[str, dict[str, Tensor]], key: str, path: Path) -> dict[str, Tensor]:
    names = ", ".join(states)
    if not states:
        raise InputError(
            f"{path} holds no tensors by name; allowed: a state dict, or a dict with one under "
            f"{', '.join(WRAPPERS)}"
        )
    if key:
        check_one_of(f"{path} holds no state", key, states)
    if not key and len(states) > 1:
        raise InputError(
            f"{path} holds several states: {names}; allowed: one, named as in "
            f"--state={next(iter(states))}"
        )
    return states[key] if key else next(iter(states.values()))


def _view(name: str, tensor: Tensor, find: Find) -> NDArray[Any]:
    """The array of a tensor, if all of it lies in its storage."""
    offset, size, stride = tensor.offset, tensor.size, tensor.stride
    numbers = find(tensor.storage)
    is_view = len(size) == len(stride) <= MOST_AXES and all(
        type(number) is int and 0 <= number <= sys.maxsize for number in (offset, *size, *stride)
    )
    # More elements than its storage has only what is repeated, which no weight is.
    if not is_view or math.prod(size) > numbers.size:
        raise ValueError(f"{name} is no view of a storage of {numbers.size} numbers")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 in size:
        return np.empty(size, numbers.dtype)
    if last >= numbers.size:
        raise ValueError(f"{name} ends at number {last} of a storage of {numbers.size}")
    strides = [step * numbers.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(numbers[offset:], size, strides, writeable=False)


def _unpickle(file: io.BytesIO) -> tuple[Any, dict[str, Storage]]:
    """The object of the pickle that comes next in a file, and the storages it names, by key.

    Python's own unpickler is not safe enough for files from anywhere, even with its imports
    restricted: five bytes make it allocate 68 GB, and nested keys overflow its stack.
    """
    stack: list[Any] = []
    below: list[list[Any]] = []  # of the marks
    memo: dict[int, Any] = {}
    storages: dict[str, Storage] = {}
    argument: Any
    for opcode, argument, _ in pickletools.genops(file):
        takes, items = opcode.stack_before, []
        if pickletools.stackslice in takes:
            items, stack = [stack], below.pop()
            takes = takes[: takes.index(pickletools.markobject)]
        operands = [stack.pop() for _ in takes][::-1] + items
        match opcode.name, operands:
            case "STOP", [found]:
                return found, storages
            case "MARK", _:
                below.append(stack)
                stack = []
            case (("PUT" | "BINPUT" | "LONG_BINPUT"), _):
                memo[argument] = stack[-1]
            case "MEMOIZE", [value]:
                memo[len(memo)] = value
                stack.append(value)
            case (("GET" | "BINGET" | "LONG_BINGET"), _):
                stack.append(memo[argument])
            case "GLOBAL", _:
                stack.append(Global(argument.replace(" ", ".")))
            case "BINPERSID", [("storage", Global(name), str(key), _, _, *views)] if not any(views):
                stack.append(storages.setdefault(key, Storage(name, key)))
            case _ if opcode.arg and not operands:
                stack.extend([argument] * len(opcode.stack_after))
            case _:
                stack.extend([_result(opcode.name, operands)] * len(opcode.stack_after))
    raise AssertionError("genops ends with STOP or raises")


def _result(name: str, operands: list[Any]) -> Any:
    """What an opcode makes of its operands; a placeholder where it would make an object."""
    match name, operands:
        case "NONE", _:
            return None
        case (("NEWTRUE" | "NEWFALSE"), _):
            return name == "NEWTRUE"
        case "EMPTY_LIST", _:
            return []
        case "EMPTY_DICT", _:
            return {}
        case (("EMPTY_TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3"), _):
            return tuple(operands)
        case "TUPLE", [items]:
            return tuple(items)
        case "APPEND", [list(target), item]:
            return _extend(target, [item])
        case "APPENDS", [list(target), items]:
            return _extend(target, items)
        case "SETITEM", [dict(target), *pair]:
            return _update(target, [pair])
        case "SETITEMS", [dict(target), items]:
            return _update(target, zip(items[::2], items[1::2], strict=True))
        case "STACK_GLOBAL", [str(module), str(qualified)]:
            return Global(f"{module}.{qualified}")
        case "REDUCE", [Global(function), tuple(arguments)]:
            return _call(function, arguments)
        case "BUILD", [target, _]:
            return target
    return OPAQUE


def _call(function: str, arguments: tuple[Any, ...]) -> Any:
    match function, arguments:
        case "collections.OrderedDict", ():
            return {}
        case "collections.OrderedDict", (list(pairs),):  # as Python 2 pickles it
            return _update({}, pairs)
        case "torch._utils._rebuild_tensor_v2", (Storage() as storage, offset, size, stride, *_):
            return Tensor(storage, offset, size, stride)
        case "torch._utils._rebuild_parameter", (Tensor() as tensor, *_):
            return tensor
    return OPAQUE


def _extend(target: list[Any], items: list[Any]) -> list[Any]:
    target.extend(items)
    return target


def _update(target: dict[str, Any], pairs: Any) -> dict[str, Any]:
    # Other keys name nothing here, and to hash tuples in tuples could overflow the stack. What is
    # not printable would break the line of a message.
    target.update((k, value) for k, value in pairs if isinstance(k, str) and k.isprintable())
    return target
