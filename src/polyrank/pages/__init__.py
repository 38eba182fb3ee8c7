"""Offline pages: prose, tables and figures in one file that asks nobody for anything."""
