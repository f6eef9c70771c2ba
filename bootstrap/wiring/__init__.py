"""The composition root: picks concrete adapters; the only package that knows both sides."""
