"""Passages of documents or trained rows, how they are found, and that no test row stands among them."""
