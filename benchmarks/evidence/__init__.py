"""The page of evidence, docs/evidence.md, out of `benchmarks/results/`."""
