"""What search and supernet find on NAS-Bench-Macro (Su et al., CVPR 2021, arXiv 2103.11922)."""
