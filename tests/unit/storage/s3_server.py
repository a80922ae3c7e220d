"""A server of S3 on loopback (moto): buckets, policies, versions; and who may use it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

REGION = "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """Where it is, and the key of who uses it: as a node's operator would have been told."""

    endpoint: str
    key_id: str = "AKIAIOSFODNN7EXAMPLE"
    secret: str = field(default_factory=lambda: f"secret{secrets.token_hex(17)}")

    @property
    def environment(self) -> Mapping[str, str]:
        """What tells the libraries of AWS where to ask, and as whom; this machine has no say."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @cached_property
    def owner(self) -> Any:  # noqa: ANN401 - the library has no types
        """The client of who has the buckets: another library than the one that is tested."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key_id,
            aws_secret_access_key=self.secret,
            region_name=REGION,
        )

    def make_bucket(self, *, has_versions: bool = False) -> str:
        """Return the name of a new one."""
        name = f"vault-{secrets.token_hex(4)}"
        self.owner.create_bucket(Bucket=name)
        if has_versions:
            kept = {"Status": "Enabled"}
            self.owner.put_bucket_versioning(Bucket=name, VersioningConfiguration=kept)
        return name

    def forbid(self, bucket: str, *actions: str) -> None:
        """Have a bucket refuse actions, such as s3:PutObject, to everybody."""
        statement = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": actions,
            "Resource": f"arn:aws:s3:::{bucket}/*",
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self.owner.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    def keys(self, bucket: str) -> list[str]:
        """Return the names of all that lies in a bucket."""
        found = self.owner.list_objects_v2(Bucket=bucket).get("Contents", [])
        return [each["Key"] for each in found]

    def read(self, bucket: str, key: str) -> bytes:
        """Return an object as it lies there."""
        return bytes(self.owner.get_object(Bucket=bucket, Key=key)["Body"].read())

    def write(self, bucket: str, key: str, data: bytes) -> None:
        """Put an object there, as whoever has the bucket may at any time."""
        self.owner.put_object(Bucket=bucket, Key=key, Body=data)


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Serve on a port of its own until left."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3Server(f"http://{host}:{port}")
    finally:
        server.stop()
