"""Reads TensorBoard's events, as far as they are not hidden, for tests."""

import io
from itertools import pairwise

import numpy as np
from PIL import Image
from tensorboardX.proto.event_pb2 import Event, SessionLog

from scarlet_jax.data import tfrecord


def read(directory):
    """`{tag: {step: value}}` of all files, in their order; pictures as `uint8[H, W, C]`."""
    found = {}
    for path in sorted(directory.glob("events.out.tfevents.*")):
        for start, end in pairwise(tfrecord.scan(path).tolist()):
            event = Event.FromString(tfrecord.read(path, start, end))
            if event.session_log.status == SessionLog.START:  # hides what is not before
                for tag, steps in found.items():
                    found[tag] = {s: value for s, value in steps.items() if s < event.step}
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = _content(value)
    return {tag: steps for tag, steps in found.items() if steps}


def _content(value):
    if value.HasField("image"):
        return np.asarray(Image.open(io.BytesIO(value.image.encoded_image_string)))
    if value.HasField("tensor"):
        return value.tensor.string_val[0].decode()
    if value.metadata.plugin_data.content:
        return value.metadata.plugin_data.content
    return value.simple_value
