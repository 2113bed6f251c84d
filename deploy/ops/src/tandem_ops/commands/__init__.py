"""The subcommands of `tandem`, a module each, loaded when they are called."""
