"""A file out of an image."""

OCIImageFileInfo = provider(
    doc = "Where a file comes from that is out of an image. `oci_image_file` provides it.",
    fields = {"config": "File: the configuration of the image."},
)
