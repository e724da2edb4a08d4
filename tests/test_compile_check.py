import pytest

from scarlet_jax import compile_check
from scarlet_jax.errors import InputError


def test_unknown_topology():
    """Without the compiler for TPUs, no topology is known."""
    with pytest.raises(InputError, match=r"topology 'v5e:4x5' .* names such as v5e:4x4, with pip"):
        compile_check.topology_mesh("v5e:4x5")
