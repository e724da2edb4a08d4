"""docs/scale.md is what was compiled, and its hours are those of its formula."""

import pytest

from benchmarks import record, scale


def test_the_page_is_of_what_is_recorded():
    assert scale.PAGE.read_text() == scale.page(
        record.read("scale")["lines"], scale.measured("strict_fair") / scale.PATHS
    )


@pytest.mark.parametrize(
    ("chips", "bound", "expected"),
    [
        # 49,640 steps of 10 images x 13 paths x 1 ms x half; 1,000 collectives of 10 us; no ring.
        ((1, 10), 0, 49_640 * (0.065 + 0.01) / 3600),
        # Twice instead of half, 50 us, and 3/4 of 900 MB sent twice at 900 GB/s.
        ((4, 10), 1, 49_640 * (0.26 + 0.05 + 0.0015) / 3600),
    ],
)
def test_hours_by_hand(chips, bound, expected):
    count, each = chips
    line = {"kind": scale.REFERENCE, "chips": count, "images": each}
    line |= {"collectives": 1000, "bytes": 900_000_000}
    assert scale.predict(line, 1e-3, bound) == pytest.approx(expected)


def test_fewer_bytes_a_second_take_longer():
    own = {"chips": 1, "images": 64, "collectives": 0, "bytes": 0}
    hours = {kind: scale.predict({**own, "kind": kind}, 4e-4, 0) for kind in scale.CHIPS}
    assert hours["NVIDIA B200"] < hours["NVIDIA H100 80GB HBM3"] < hours["TPU v5 lite"]
    ratio = hours["NVIDIA A100-SXM4-80GB"] / hours[scale.REFERENCE]
    assert ratio == pytest.approx(4.8 / 2.039)
