"""Models by reference: the registry, the small layout, families, and the bundled model."""
