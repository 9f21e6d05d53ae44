"""Passwords, certificates, and whose a stack is."""
