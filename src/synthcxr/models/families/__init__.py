"""What differs between kinds of model, one file each."""
