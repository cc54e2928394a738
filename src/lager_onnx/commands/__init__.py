"""The commands of `lager`, one a file."""
