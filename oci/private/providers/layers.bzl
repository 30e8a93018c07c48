"""Several layers of one target."""

OCILayersInfo = provider(
    doc = "Layers that go into an image together. `oci_program_layers` provides it.",
    fields = {"layers": "list of OCIDescriptorInfo: the layers, the lowest first."},
)
