"""Brings a database to the tables that this program knows."""
