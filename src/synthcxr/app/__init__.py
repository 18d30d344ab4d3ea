"""The web app: the whole road in a browser."""
