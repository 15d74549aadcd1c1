"""The figures of the chapters, with one function for each figure."""
