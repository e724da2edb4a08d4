"""What docs/figures.md says, measured by the commands that users have, and the page."""
