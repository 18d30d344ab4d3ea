"""The statistics of a reading, one file a method: pure functions on arrays, each with its paper."""
