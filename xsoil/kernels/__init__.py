"""Physics compiled over columns and cells."""
