"""The PBFT core, sans-IO: `Core.step(event, now) -> actions`. See README.md."""
