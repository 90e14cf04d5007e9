"""Task files that ship with assay: lm-eval YAML, found by name when there is none beside the config."""
