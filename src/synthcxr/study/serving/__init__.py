"""The reading in a browser: one secret link a reader, answers on the disk before the page says so."""
