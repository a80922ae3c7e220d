"""Generated from proto/node/rpc/pb by the command in node/rpc/README.md. Not to be edited."""
