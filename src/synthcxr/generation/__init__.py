"""Drawing sets of synthetic X-rays."""
