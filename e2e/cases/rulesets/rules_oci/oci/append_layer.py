#!/usr/bin/env python3
"""An image on a base, as rules_oci makes it: OUTPUT BASE LAYER..."""

import hashlib
import json
import os
import sys

output, base, *layers = sys.argv[1:]
BLOBS = "blobs/sha256"
directory = os.path.join(output, BLOBS)
os.makedirs(directory)


def link(source, name):
    path = os.path.join(directory, name)
    if not os.path.lexists(path):
        os.symlink(os.path.relpath(source, directory), path)


def read(descriptor):
    with open(os.path.join(directory, descriptor["digest"].split(":")[1])) as blob:
        return json.load(blob)


def write(descriptor, value):
    content = json.dumps(value).encode()
    name = hashlib.sha256(content).hexdigest()
    with open(os.path.join(directory, name), "wb") as blob:
        blob.write(content)
    return descriptor | {"digest": "sha256:" + name, "size": len(content)}


for blob in os.listdir(os.path.join(base, BLOBS)):
    link(os.path.join(base, BLOBS, blob), blob)
with open(os.path.join(base, "index.json")) as file:
    index = json.load(file)
image = index["manifests"][0]
manifest = read(image)
config = read(manifest["config"])
for layer in layers:
    with open(layer, "rb") as file:
        content = file.read()
    name = hashlib.sha256(content).hexdigest()
    link(layer, name)
    config["rootfs"]["diff_ids"].append("sha256:" + name)
    media_type = "application/vnd.oci.image.layer.v1.tar"
    manifest["layers"].append({"mediaType": media_type, "digest": "sha256:" + name, "size": len(content)})
manifest["config"] = write(manifest["config"], config)
index["manifests"] = [write(image, manifest)]
with open(os.path.join(output, "index.json"), "w") as file:
    json.dump(index, file)
with open(os.path.join(output, "oci-layout"), "w") as file:
    json.dump({"imageLayoutVersion": "1.0.0"}, file)
