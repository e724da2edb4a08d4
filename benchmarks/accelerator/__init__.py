"""One command that checks a GPU or TPU host."""
