"""The checks of check_interop.py, a module for each topic."""
