"""A second implementation of the Valise protocol, written from SPEC.md and its vectors alone."""
