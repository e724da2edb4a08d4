#!/usr/bin/env bash
# Runs a launcher on every host of a Cloud TPU slice, from a machine with gcloud:
#
#   TPU=NAME ZONE=ZONE launch/tpu_pod.sh \
#       pipeline --config=configs/imagenet_s2.py --workdir=/mnt/runs/s2 --config.data.path=/mnt/DIR
#
# Each host has this repository in ~/scarlet-jax (or REPOSITORY) with `pip install '.[tpu]'` done
# in its .venv. Data and work directory lie on a file system that all of them have mounted, or in a
# bucket: --workdir=gs://BUCKET/runs/s2 with `pip install '.[tpu,cloud]'`, where each host copies the
# data to its own disk.
# Tried with a stand-in for gcloud on one machine; nobody has run it on a TPU slice.
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: TPU=NAME ZONE=ZONE $0 LAUNCHER [FLAGS]" >&2; exit 2; }
command=$(printf '%q ' .venv/bin/python -m "launch.$1" --coordinator=auto "${@:2}")
exec gcloud compute tpus tpu-vm ssh "${TPU:?name of the slice}" --zone="${ZONE:?its zone}" \
  --worker=all --command="cd ${REPOSITORY:-scarlet-jax} && $command"
