"""One file a chapter: which cells its studies are made of, its statistics, and its claims."""
