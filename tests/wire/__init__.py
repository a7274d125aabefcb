"""Servers that speak a vendor's protocol and keep its rules, where no emulator does."""
