"""The blobs of pulled bases."""

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
