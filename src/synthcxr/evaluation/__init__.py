"""How realistic, varied and private a set is: features, one file a metric, the floor, the report."""
