"""An image layout."""

OCILayoutInfo = provider(
    doc = """An image layout as a directory. `oci_image_layout` and `oci_complete_layout` provide it, and a rule of another ruleset
may: what takes a layout finds it by this, whatever else the target has.""",
    fields = {
        "directory": "File: the layout's directory (OCI image spec, image-layout.md).",
        "images": """list of struct: all images of the layout, each with `platform`, its OCIPlatformInfo, and `base_digest`, a string:
the digest of the pulled image's manifest that it stands on; empty when there is none, or nobody knows.""",
    },
)
