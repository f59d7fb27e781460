"""How Offshoot is run: the embedded stack and the `offshoot` command."""
