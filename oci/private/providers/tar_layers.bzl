"""What image_tars tells oci_image, and nobody else."""

TarLayersInfo = provider(
    doc = "Layers, one for each archive.",
    fields = {"layers": "list of OCIDescriptorInfo: the layers, in the archives' order."},
)
