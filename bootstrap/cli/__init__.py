"""Parse, call one workflow, show, exit code."""
