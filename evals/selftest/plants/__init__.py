"""Kinds of planted faults, one a file. A file has `PLANT`: how a row is made faulty, and which rules must find it."""
