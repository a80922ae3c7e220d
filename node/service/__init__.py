"""Services of one running node: the driver and what it drives. They contain no rules."""
