"""Planted models, one a file. A file has `CASE`: what is trained, and what the gate must say of it."""
