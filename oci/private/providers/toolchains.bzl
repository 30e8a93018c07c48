"""What the toolchains bring to the rules."""

OCIToolInfo = provider(
    doc = "The tool that the actions run. The toolchain type `@oci_pull_all//oci:toolchain_type` has it as `tool`.",
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
        "label": "Label: the program's target.",
    },
)
