"""What the command line runs: train a supernet, search it, retrain what was found, report.

Each goes on where an earlier run in the same work directory stopped, and leaves files there:

  supernet/            checkpoints, metrics
  search/search.npz    everything evaluated
  front.json           the Pareto front and the picked models
  subnets/<name>/      checkpoints, metrics, result.json, model.safetensors
  rank.json, rank/     networks trained alone, to know how far the supernet's order can be trusted
  report.html          figures and tables
"""
