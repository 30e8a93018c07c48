"""An image on the base, of one layer."""

load("@oci_pull_all//oci:defs.bzl", "oci_image", "oci_image_layer")

def image(layer = None, base = "@base", **kwargs):
    """Makes the target `image`.

    Args:
      layer: the attributes of its layer, if it has one.
      base: the label of the base.
      **kwargs: the attributes of `oci_image`.
    """
    if layer:
        oci_image_layer(name = "layer", **layer)
    oci_image(
        name = "image",
        base = base,
        layers = [":layer"] if layer else [],
        visibility = ["//visibility:public"],
        **kwargs
    )
