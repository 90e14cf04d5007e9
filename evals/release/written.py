"""Names of the files of a release."""

RELEASE = "release.json"
CARD = "README.md"
"""In every folder of exported files."""
BILL = "bom.cdx.json"
SIGNATURE = "model.sig"
