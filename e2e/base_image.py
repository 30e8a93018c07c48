"""Writes the tests' base image as an OCI image layout, independently of the code under test.

usage: base_image.py LAYOUT AMD64_TAR ARM64_TAR

The layout has two entries: `debian`, an index with an image for amd64, one for arm64/v8 and an
attestation, as buildx writes it; and `images`, an index with the two images alone.
"""

import gzip
import hashlib
import io
import json
import pathlib
import sys
import tarfile

OCI = "application/vnd.oci.image."


def main(layout, amd64, arm64):
    root = pathlib.Path(layout)
    (root / "blobs/sha256").mkdir(parents=True)

    def blob(media_type, data, **more):
        digest = hashlib.sha256(data).hexdigest()
        (root / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data), **more}

    def document(media_type, value, **more):
        return blob(media_type, json.dumps(value).encode(), **more)

    def image(platform, tars):
        layers = [blob(OCI + "layer.v1.tar+gzip", gzip.compress(tar, 6, mtime=0)) for tar in tars]
        config = {
            "created": "2024-01-01T00:00:00Z",
            **platform,
            "config": {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]},
            "rootfs": {
                "type": "layers",
                "diff_ids": ["sha256:" + hashlib.sha256(tar).hexdigest() for tar in tars],
            },
            "history": [{"created_by": f"layer {number}"} for number, _ in enumerate(tars)],
        }
        return document(OCI + "manifest.v1+json", {
            "schemaVersion": 2,
            "mediaType": OCI + "manifest.v1+json",
            "config": document(OCI + "config.v1+json", config),
            "layers": layers,
        }, platform=platform)

    def attestation(subject):
        statement = json.dumps({"_type": "https://in-toto.io/Statement/v0.1"}).encode()
        config = {
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(statement).hexdigest()]},
        }
        return document(OCI + "manifest.v1+json", {
            "schemaVersion": 2,
            "mediaType": OCI + "manifest.v1+json",
            "config": document(OCI + "config.v1+json", config),
            "layers": [blob("application/vnd.in-toto+json", statement)],
        }, platform={"architecture": "unknown", "os": "unknown"}, annotations={
            "vnd.docker.reference.digest": subject["digest"],
            "vnd.docker.reference.type": "attestation-manifest",
        })

    def index(name, manifests):
        return document(OCI + "index.v1+json", {
            "schemaVersion": 2,
            "mediaType": OCI + "index.v1+json",
            "manifests": manifests,
        }, annotations={"org.opencontainers.image.ref.name": name})

    note = tar_of({"etc/oci_pull_all_base": b"the tests' base image\n"})
    images = [
        image({"os": "linux", "architecture": "amd64"}, [read(amd64), note]),
        image({"os": "linux", "architecture": "arm64", "variant": "v8"}, [read(arm64), note]),
    ]
    entries = [index("debian", images + [attestation(images[0])]), index("images", images)]
    (root / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))


def read(path):
    return pathlib.Path(path).read_bytes()


def tar_of(files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return data.getvalue()


main(*sys.argv[1:])
