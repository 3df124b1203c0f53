"""What the figures of several chapters share: style, colour tables, maps and columns by site."""
