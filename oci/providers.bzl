"""What the rules tell each other about images."""

load("//oci/private:platforms.bzl", _OCIPlatformInfo = "OCIPlatformInfo")

OCIPlatformInfo = _OCIPlatformInfo

OCIDescriptorInfo = provider(
    doc = """A blob and what describes it (OCI image spec, descriptor.md). `oci_image_layer` provides it.

The digest of a blob that the build makes is not known at analysis time, so it is in a file.""",
    fields = {
        "blob": "File: the content.",
        "descriptor": """File: the content descriptor, as JSON. A layer's has the annotation
`containerd.io/uncompressed`, the digest of the uncompressed layer, which becomes the image
config's diff_id.""",
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
        "plain_http": "bool: whether the registry is spoken to without TLS.",
        "repository": "string: the registry and the repository, such as `docker.io/library/debian`.",
    },
)

OCIPulledImageInfo = provider(
    doc = """The blobs of pulled bases that an image stands on, as files.

It is there only where the layers were pulled: in what `oci_image_layout` depends on, or when the base
is an `oci_pull_all` repository itself.""",
    fields = {
        "blobs": """depset of File: manifests, configs and layers, each at a path that ends in
`blobs/ALGORITHM/HEX` (OCI image spec, image-layout.md).""",
        "images": """dict of string to depset of File: the same blobs by the digest of the image
manifest that needs them, so that one platform's image does not carry the others' layers.""",
        "referrers": """dict of string to depset of File: the blobs of what refers to a manifest, by its digest. Those
of an image that is built on a base are not among them.""",
        "referrers_indexes": "depset of File: the `index.json` of each layout that lists them.",
    },
)

OCIToolInfo = provider(
    doc = "The program that the actions run. The toolchain type `@oci_pull_all//oci:toolchain_type` has it as `tool`.",
    fields = {
        "executable": "FilesToRunProvider: the `oci-pull-all` program.",
    },
)

OCISBOMGeneratorInfo = provider(
    doc = """The program that makes SBOMs. The toolchain type `@oci_pull_all//oci:sbom_toolchain_type` has it as
`generator`.""",
    fields = {
        "args_template": "list of string: its arguments, with `{layout}`, `{output}` and `{format}`.",
        "env": "dict of string to string: its environment.",
        "executable": "FilesToRunProvider: the program.",
        "formats": "dict of string to string: what it calls `spdx-json` and `cyclonedx-json`.",
    },
)

OCIRootfsInfo = provider(
    doc = "An image's root file system. `oci_image_rootfs` provides it.",
    fields = {
        "layout": "Target: the image layout that the root file system is of.",
        "platform": "string: the image's platform; empty when the layout has one image.",
    },
)
