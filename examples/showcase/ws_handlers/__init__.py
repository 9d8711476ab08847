"""The demo's handlers, one file each; the pages show these files."""
