"""The command ``furiosa``: one module per subcommand."""
