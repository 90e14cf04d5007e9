"""Forms in which the judged model leaves, one file each, found by looking.

A file has NAME, as `release.targets` calls it, FOLDER, where in the release it lives (several may share one), LOSSLESS,
whether its answers should be those of the judged model but for rounding in the last places, `export(source, folder,
name)`, which writes files into `folder` only and refuses before it writes, and `load(source, folder)`, which reads them
back by a path that shares nothing with the export.
"""
