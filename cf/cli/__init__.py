"""The program `cf`: one file a command."""
