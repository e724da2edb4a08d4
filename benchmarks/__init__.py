"""Speed of the supernet side by side with PyTorch; README.md says how to run it."""
