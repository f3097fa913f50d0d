"""A plugin whose entry point names something that is not here."""
