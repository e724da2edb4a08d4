#!/usr/bin/env bash
# Runs a launcher in every task of a Slurm job. From the root of the repository, which all nodes
# must see, as well as the data and the work directory; these may be in a bucket:
#
#   sbatch --nodes=2 --ntasks-per-node=8 --gpus-per-node=8 launch/slurm.sh \
#       pipeline --config=configs/imagenet_s2.py --workdir=runs/s2 --config.data.path=DIR
#
# JAX gives each task one GPU of its node: as many tasks a node as GPUs, and no --gpus-per-task.
# PYTHON is the interpreter, .venv/bin/python by default. Interrupted jobs go on if submitted again.
# Tried with a stand-in for srun on one machine; nobody has run it on a Slurm cluster.
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: sbatch [OPTIONS] $0 LAUNCHER [FLAGS]" >&2; exit 2; }
exec srun --kill-on-bad-exit=1 "${PYTHON:-.venv/bin/python}" -m "launch.$1" --coordinator=auto "${@:2}"
