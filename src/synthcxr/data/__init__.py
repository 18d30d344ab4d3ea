"""Sources of real X-rays, and the stage that makes a dataset of them."""
