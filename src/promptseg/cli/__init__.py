"""The command line: thin faces over the public functions. Nothing heavy is imported before a command runs."""
