"""What tools print that time a file on its device: TFLite's benchmark_model, ONNX Runtime's
onnxruntime_perf_test, or a meter of whatever a table is of, by a number alone.

Medians are taken where they are printed, and averages elsewhere: on a busy machine averages of
benchmark_model's kind gave a table of MNIST's space a median error of 25%, medians 2.5%.
"""

import re
from collections.abc import Iterator
from statistics import median

# Whole: half of one of another language, such as 1234,5, would be another.
NUMBER = r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)(?![\d.,eE])"

# benchmark_model, microseconds: the statistics of the runs, and then the summary.
LITE_RUNS = re.compile(rf"count=\d+ .*\bmedian={NUMBER}")
LITE_SUMMARY = re.compile(rf"Inference timings in us: .*Inference \(avg\): {NUMBER}")
# onnxruntime_perf_test: the average in milliseconds, and after it statistics in seconds, which not
# all print.
ONNX_RESULT = "Average inference time cost"
ONNX_AVERAGE = re.compile(rf"(?: total)?: {NUMBER} ms")
ONNX_MEDIAN = re.compile(rf"P50 Latency: {NUMBER} s")
ALONE = re.compile(rf"\s*{NUMBER}\s*")


def milliseconds(text: str) -> float | None:
    """The time in what a tool has printed, the median if it ran often; None where there is none."""
    times = [*_lite(text), *_onnx(text)]
    return median(times) if times else None


def _lite(text: str) -> Iterator[float]:
    start = 0
    for summary in LITE_SUMMARY.finditer(text):
        medians = LITE_RUNS.findall(text, start, summary.start())
        yield float(medians[-1] if medians else summary[1]) / 1e3  # the first are of the warm-up
        start = summary.end()


def _onnx(text: str) -> Iterator[float]:
    for run in text.split(ONNX_RESULT)[1:]:
        if found := ONNX_MEDIAN.search(run):
            yield 1e3 * float(found[1])
        elif found := ONNX_AVERAGE.match(run):
            yield float(found[1])


def number(text: str) -> float | None:
    """The number that a text is; None for another text."""
    found = ALONE.fullmatch(text)
    return float(found[1]) if found else None
