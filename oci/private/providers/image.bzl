"""An image, an index of images, and what they are made of."""

OCIPlatformInfo = provider(
    doc = "What an image is for.",
    fields = {
        "architecture": "string: `GOARCH`, such as `arm64`.",
        "os": "string: `GOOS`, such as `linux`.",
        "os_version": """string: the version of the operating system, of a pulled Windows image; it may be
absent or empty.""",
        "variant": "string: the processor's variant, such as `v8`; empty when there is none.",
    },
)

OCIDescriptorInfo = provider(
    doc = """A blob and what describes it (OCI image spec, descriptor.md). `oci_image_layer` provides it.

The digest of a blob that the build makes is not known at analysis time, so it is in a file.""",
    fields = {
        "blob": "File: the content.",
        "descriptor": """File: the content descriptor, as JSON. A layer's has the annotation
`containerd.io/uncompressed`, the digest of the uncompressed layer, which becomes the image
config's diff_id.""",
        "unnamed_parents": """File: of a layer, the directories that are in it only because something is in them, as a JSON
list of objects with `path` (a list of bytes where it is not UTF-8), `mode`, `uid` and `gid`. It may be absent.""",
    },
)

OCIImageInfo = provider(
    doc = "One image: a manifest, a config and layers (OCI image spec, manifest.md).",
    fields = {
        "config": "File: the image configuration.",
        "descriptor": "File: the manifest's content descriptor with its platform, as JSON.",
        "layers": """depset of OCIDescriptorInfo, in pre-order: the layers that the build makes. A
pulled base's layers are not among them.""",
        "manifest": "File: the image manifest.",
        "platform": "OCIPlatformInfo: what the image is for.",
        "pulled_digest": """string: the manifest digest of the pulled image at the bottom, whose layers
the layout needs from OCIPulledImageInfo; None when there is none.""",
        "pulled_from": "OCIPulledFromInfo: where that image was pulled from; None when there is none.",
    },
)

OCIImageIndexInfo = provider(
    doc = "Several images under one digest (OCI image spec, image-index.md).",
    fields = {
        "descriptor": "File: the index's content descriptor, as JSON.",
        "images": "list of OCIImageInfo: the images.",
        "index": "File: the image index.",
        "pulled_from": """OCIPulledFromInfo: where the index was pulled from, when it is a pulled one; else
None.""",
    },
)

OCIPulledFromInfo = provider(
    doc = "Where a base was pulled from. A push takes the base's layers from there, if it needs them at all.",
    fields = {
        "digest": "string: the digest that was pulled, of the index if it is one.",
        "plain_http": "bool: whether the registry is spoken to without TLS.",
        "repository": "string: the registry and the repository, such as `docker.io/library/debian`.",
        "tag": "string: the tag that the digest was read from; empty when it was not said.",
    },
)
