"""Requests for time stamps: taken within a quota, recorded, answered. See ../README.md."""
