"""Models on the Hugging Face Hub; it takes `pip install 'scarlet-jax[hub]'`."""

import json
from pathlib import Path
from typing import Any, Self

from huggingface_hub import ModelHubMixin, hf_hub_download

from scarlet_jax import models
from scarlet_jax import space as spaces
from scarlet_jax.models import Model

CARD = """---
{{ card_data }}
---
A network of a search space in the sense of [SCARLET-NAS](https://arxiv.org/abs/1908.06022), in JAX:

    from scarlet_jax.hub import HubModel
    model = HubModel.from_pretrained("OWNER/NAME").model
"""


def _described(model: Model) -> dict[str, Any]:
    """What `config.json` says of a model to whoever looks at its page."""
    return {
        "space": model.space.name,
        "blocks": spaces.to_names(model.space, model.architecture),
        "image_size": model.preprocessing.image_size,
        "class_names": list(model.class_names),
    }


class HubModel(
    ModelHubMixin,
    library_name="scarlet-jax",
    tags=["image-classification", "jax", "neural-architecture-search"],
    model_card_template=CARD,
):
    """A model with `save_pretrained`, `push_to_hub` and `from_pretrained`.

    Its file is that of `models.save`; `config.json` beside it is for readers alone.
    """

    def __init__(self, model: Model):
        self.model = model

    def _save_pretrained(self, save_directory: Path) -> None:
        models.save(self.model, save_directory / models.FILE_NAME)
        # In place of all arrays as text, which the mixin would try.
        text = json.dumps(_described(self.model), indent=2)
        (save_directory / "config.json").write_text(text)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **_: Any,
    ) -> Self:
        """Of a folder, or of a repository on the Hub."""
        path = Path(model_id)
        if not path.is_dir():
            path = Path(
                hf_hub_download(
                    model_id,
                    models.FILE_NAME,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                )
            )
        return cls(models.load(path))
