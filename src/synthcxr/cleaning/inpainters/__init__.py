"""Ways to fill masked pixels from what is around them, a file each."""
