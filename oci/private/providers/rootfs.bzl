"""An image's root file system."""

OCIRootfsInfo = provider(
    doc = "An image's root file system. `oci_image_rootfs` provides it.",
    fields = {
        "layout": "Target: the image layout that the root file system is of.",
        "platform": "string: the image's platform; empty when the layout has one image.",
    },
)
