"""What runs inside LiteLLM, and the pinned list of packages that LiteLLM needs."""
