"""What tools print that time a file on its device: TFLite's benchmark_model, ONNX Runtime's
onnxruntime_perf_test, or a meter of whatever a table is of, by a number alone.

Medians are taken where they are printed, and averages elsewhere: on a busy machine averages of
benchmark_model's kind gave a table of MNIST's space a median error of 25%, medians 2.5%.
"""

import re

NUMBER = r"(\d+(?:\.\d*)?(?:e[+-]?\d+)?)"

# benchmark_model, microseconds: the statistics of the runs, and then the summary.
LITE_RUNS = re.compile(rf"count=\d+ .*\bmedian={NUMBER}")
LITE_SUMMARY = re.compile(rf"Inference timings in us: .*Inference \(avg\): {NUMBER}")
# onnxruntime_perf_test: milliseconds, and seconds in the statistics, of which older ones print
# none.
ONNX_SUMMARY = re.compile(rf"Average inference time cost(?: total)?: {NUMBER} ms")
ONNX_MEDIAN = re.compile(rf"P50 Latency: {NUMBER} s")
ALONE = re.compile(rf"\s*{NUMBER}\s*")


def milliseconds(text: str) -> float | None:
    """The time in what a tool has printed; None where there is none."""
    if summary := LITE_SUMMARY.search(text):
        medians = LITE_RUNS.findall(text[: summary.start()])  # the last is not of the warm-up
        return float(medians[-1] if medians else summary[1]) / 1e3
    if summary := ONNX_SUMMARY.search(text):
        median = ONNX_MEDIAN.search(text)
        return 1e3 * float(median[1]) if median else float(summary[1])
    return None


def number(text: str) -> float | None:
    """The number that a text is; None for another text."""
    found = ALONE.fullmatch(text)
    return float(found[1]) if found else None
