"""Runbooks: templates of typed steps, and the plans they become. Pure apart from reading the library's files."""
