"""The figures of the chapters, a module each, and a function a figure."""
