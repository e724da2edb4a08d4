"""Every setting with its default, SCARLET's S2 on 224-pixel images: see `scarlet_jax/settings.py`.

The other files here start from this one and change what differs.
"""

from ml_collections import ConfigDict

from scarlet_jax import settings


def get_config() -> ConfigDict:
    return settings.defaults().lock()
