"""What oci_image_layout tells oci_layout_test of the layers, and nobody else."""

UnnamedParentsInfo = provider(
    doc = "The layers of a layout with directories that nobody named.",
    fields = {"layers": "list of OCIDescriptorInfo, each with `unnamed_parents`: the layers that the build makes."},
)
