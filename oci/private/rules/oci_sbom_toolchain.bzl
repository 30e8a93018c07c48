"""The toolchain that makes software bills of materials."""

load("//oci/private/common:placeholders.bzl", "check_placeholders", "has_placeholder")
load("//oci/private/common:sbom.bzl", "SBOM_FORMATS")
load("//oci/private/providers:toolchains.bzl", "OCISBOMGeneratorInfo")

_PLACEHOLDERS = ["{layout}", "{output}", "{format}"]

def _oci_sbom_toolchain_impl(ctx):
    check_placeholders(ctx.label, "args_template", ctx.attr.args_template, _PLACEHOLDERS)
    for placeholder in ["{layout}", "{output}"]:
        if not has_placeholder(ctx.attr.args_template, [placeholder]):
            fail("{}: no word of args_template has {}, so the generator would not know it".format(ctx.label, placeholder))
    unknown = [name for name in ctx.attr.formats if name not in SBOM_FORMATS]
    if unknown:
        fail("{}: formats has {}, but the formats are {}".format(ctx.label, ", ".join(unknown), ", ".join(SBOM_FORMATS)))
    return [platform_common.ToolchainInfo(generator = OCISBOMGeneratorInfo(
        args_template = ctx.attr.args_template,
        env = ctx.attr.env,
        executable = ctx.attr.generator[DefaultInfo].files_to_run,
        formats = ctx.attr.formats or {name: name for name in SBOM_FORMATS},
        label = ctx.attr.generator.label,
    ))]

oci_sbom_toolchain = rule(
    implementation = _oci_sbom_toolchain_impl,
    doc = """Makes a toolchain of a program that lists what is in an image.

Wrap it in a `toolchain` of the type `@oci_pull_all//oci:sbom_toolchain_type` and register that one. For syft:

```starlark
oci_sbom_toolchain(
    name = "syft_sbom",
    args_template = ["scan", "oci-dir:{layout}", "--output", "{format}={output}"],
    env = {"SYFT_CHECK_FOR_APP_UPDATE": "false"},
    generator = "@syft",
)

toolchain(
    name = "syft_sbom_toolchain",
    toolchain = ":syft_sbom",
    toolchain_type = "@oci_pull_all//oci:sbom_toolchain_type",
)
```""",
    attrs = {
        "args_template": attr.string_list(
            doc = """The generator's arguments. `{layout}` stands for the absolute path of the layout, `{output}` for
that of the file to write, and `{format}` for the format's name.""",
            mandatory = True,
        ),
        "env": attr.string_dict(doc = "The generator's environment."),
        "formats": attr.string_dict(
            doc = """What the generator calls each format that it can write, of `spdx-json` and
`cyclonedx-json`. When left out, it knows both by these names.""",
        ),
        "generator": attr.label(
            doc = "The generator's program.",
            mandatory = True,
            allow_files = True,
            executable = True,
            cfg = "exec",
        ),
    },
)
