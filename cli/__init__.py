"""The `seqkit` command: one file per command, each thin; heavy libraries are imported when a command runs."""

if __name__ != "seqkit.cli":
    raise ImportError(f"this folder is the package seqkit.cli, not {__name__}; write `import seqkit.cli`")
