"""The Kubernetes manifest holds a Job that Kubernetes takes."""

from pathlib import Path

import pytest
import yaml

MANIFEST = Path(__file__).parents[1] / "launch" / "jobset.yaml"


@pytest.fixture(scope="module")
def jobset():
    return yaml.safe_load(MANIFEST.read_text())


def test_the_job_is_what_kubernetes_takes(jobset):
    validate = pytest.importorskip("kubernetes_validate")
    (job,) = jobset["spec"]["replicatedJobs"]
    whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job["name"]}}
    version = validate.latest_version()
    validate.validate(whole | job["template"], version, strict=True)
    misspelt = {"spec": job["template"]["spec"] | {"paralelism": 4}}
    with pytest.raises(validate.ValidationError, match="paralelism"):
        validate.validate(whole | misspelt, version, strict=True)


def test_there_is_a_host_for_every_four_chips(jobset):
    (job,) = jobset["spec"]["replicatedJobs"]
    own = job["template"]["spec"]
    pod = own["template"]["spec"]
    rows, columns = map(int, pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x"))
    (container,) = pod["containers"]
    chips = container["resources"]["limits"]["google.com/tpu"]
    assert own["parallelism"] == own["completions"] == rows * columns // chips
