"""Decisions: events in, commands out. No IO, clock, dice, log or await."""
