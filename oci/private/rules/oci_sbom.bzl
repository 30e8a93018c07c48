"""The rule for a software bill of materials."""

load("//oci/private/common:layout_input.bzl", "LAYOUT_ATTR", "layout_input")
load("//oci/private/common:sbom.bzl", "SBOM_FORMATS", "SBOM_TOOLCHAIN_TYPE")

def _oci_sbom_impl(ctx):
    found = layout_input(ctx)
    toolchain = ctx.toolchains[SBOM_TOOLCHAIN_TYPE]
    if not toolchain:
        fail("{}: no program is registered that makes SBOMs: make an oci_sbom_toolchain of one, and register it with register_toolchains in MODULE.bazel".format(ctx.label))
    generator = toolchain.generator
    if ctx.attr.format not in generator.formats:
        fail("{}: the registered generator writes {}, not {}".format(
            ctx.label,
            ", ".join(generator.formats),
            ctx.attr.format,
        ))
    output = ctx.actions.declare_file(ctx.label.name + SBOM_FORMATS[ctx.attr.format])
    arguments = ctx.actions.args()
    for template in generator.args_template:
        _add(
            arguments,
            template.replace("{format}", generator.formats[ctx.attr.format]),
            {"{layout}": found.path, "{output}": output},
        )
    ctx.actions.run(
        executable = generator.executable,
        arguments = [arguments],
        env = generator.env,
        inputs = found.inputs,
        outputs = [output],
        mnemonic = "OCISBOM",
        progress_message = "Listing what is in image layout %{label}",
        toolchain = SBOM_TOOLCHAIN_TYPE,
    )
    return [DefaultInfo(files = depset([output]))]

def _add(arguments, template, files):
    for placeholder, file in files.items():
        if placeholder in template:
            template = template.replace("%", "%%").replace(placeholder, "%s", 1)
            arguments.add_all([file], format_each = template, expand_directories = False)
            return
    arguments.add(template)

oci_sbom = rule(
    implementation = _oci_sbom_impl,
    doc = """Makes a software bill of materials of an image, base layers included, by the generator that the
user registers with `oci_sbom_toolchain`.

Its output is `NAME.spdx.json` or `NAME.cdx.json`. Generators write times and random numbers into it, so that
its bytes may differ from build to build.""",
    attrs = {
        "format": attr.string(
            doc = "`spdx-json` (SPDX) or `cyclonedx-json` (CycloneDX).",
            default = "spdx-json",
            values = SBOM_FORMATS.keys(),
        ),
        "layout": LAYOUT_ATTR,
    },
    toolchains = [config_common.toolchain_type(SBOM_TOOLCHAIN_TYPE, mandatory = False)],
)
