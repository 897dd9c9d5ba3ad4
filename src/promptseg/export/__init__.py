"""Carries what was labelled and learned out into the forms of other tools."""
