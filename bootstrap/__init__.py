"""keyturn: bootstrap, prove and rotate the keys of a self-hosted LLM gateway."""

__version__ = "0.1.0"
