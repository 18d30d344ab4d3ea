"""Training: adapters, whole models, autoencoders and the evaluation encoder."""
