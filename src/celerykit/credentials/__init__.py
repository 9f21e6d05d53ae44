"""The passwords, the certificates and the owner of a stack."""
