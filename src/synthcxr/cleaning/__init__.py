"""The stage `clean`: find burned-in text, remove its strokes, change nothing else, and keep the proof."""
