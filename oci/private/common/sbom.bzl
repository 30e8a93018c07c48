"""What the generators of software bills of materials and the rule that runs them agree on."""

SBOM_TOOLCHAIN_TYPE = Label("//oci:sbom_toolchain_type")

# The formats that an oci_sbom may have, and the suffixes of their files.
SBOM_FORMATS = {
    "cyclonedx-json": ".cdx.json",
    "spdx-json": ".spdx.json",
}
