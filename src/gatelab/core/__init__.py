"""What everything else stands on: errors, tables of names, random streams, files, configurations, protocols.

Standard library and NumPy only.
"""
