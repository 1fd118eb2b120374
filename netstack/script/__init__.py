"""Runs packetdrill scripts against an endpoint in virtual time.

Knows the endpoint's interface, and no I/O beyond reading scripts.
"""
