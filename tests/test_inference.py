import jax
import numpy as np
import pytest
from test_supernet import assert_close, covering_paths

from scarlet_jax import subnet, supernet
from scarlet_jax.nn import functional
from scarlet_jax.nn.layers import BatchStatistics

RATE = 0.3


# All images at once, one at a time, and two at a time in layers of 6 by 6 pixels.
@pytest.mark.parametrize("cache_bytes", [0, 1, 2 * 4 * 6 * 6 * 12])
def test_one_program_normalises_by_either_statistics(tiny, tiny_supernet, images, cache_bytes):
    """Against the stand-alone network, which has only the images that count."""
    padded = np.concatenate([images[:3], np.full_like(images[:1], 9.0)])
    share = np.array([1 / 3, 1 / 3, 1 / 3, 0], np.float32)

    @jax.jit
    def run(path, rate, used):
        how = BatchStatistics(rate, share, used)
        return supernet.apply(*tiny_supernet, padded, path, how, cache_bytes=cache_bytes)

    for path in covering_paths(tiny):
        alone = subnet.extract(tiny, tiny_supernet, path)
        for how in (None, BatchStatistics(RATE)):
            rate = np.float32(0 if how is None else RATE)
            logits, stats = run(path, rate, np.bool_(how is not None))
            expected, after = functional.apply(*alone, images[:3], how)
            assert_close(logits[:3], expected, 1e-4)
            found = subnet.extract(tiny, tiny_supernet._replace(stats=stats), path).stats
            for ours, theirs in zip(*map(jax.tree.leaves, (found, after)), strict=True):
                assert_close(ours, theirs, 1e-4)
    assert run._cache_size() == 1
