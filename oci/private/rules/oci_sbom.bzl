"""The rule for a software bill of materials."""

load("//oci/private/common:layout_input.bzl", "LAYOUT_ATTR", "LAYOUT_FORMS", "layout_input")
load("//oci/private/common:network.bzl", "NETWORK_ATTR", "add_network", "network_requirements")
load("//oci/private/common:platforms.bzl", "PLATFORM_ATTR", "add_platform")
load("//oci/private/common:sbom.bzl", "SBOM_FORMATS", "SBOM_TOOLCHAIN_TYPE")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")

# The tool starts the generator, so both must be for the platform that the action runs on.
_EXEC_GROUP = "sbom"

def _oci_sbom_impl(ctx):
    found = layout_input(ctx)
    toolchains = ctx.exec_groups[_EXEC_GROUP].toolchains
    if not toolchains[SBOM_TOOLCHAIN_TYPE]:
        fail("{}: no program is registered that makes SBOMs: make an oci_sbom_toolchain of one, and register it with register_toolchains in MODULE.bazel".format(ctx.label))
    generator = toolchains[SBOM_TOOLCHAIN_TYPE].generator
    if ctx.attr.format not in generator.formats:
        fail("{}: the registered generator writes {}, not {}".format(
            ctx.label,
            ", ".join(generator.formats),
            ctx.attr.format,
        ))
    output = ctx.actions.declare_file(ctx.label.name + SBOM_FORMATS[ctx.attr.format])
    arguments = ctx.actions.args()
    arguments.add("scan")
    add_network(ctx, arguments)
    arguments.add_all("--layout", [found.path], expand_directories = False)
    if ctx.attr.input:
        arguments.add("--input", ctx.attr.input)
    add_platform(ctx, arguments)
    arguments.add("--scanner", generator.executable.executable)
    arguments.add(str(generator.label), format = "--scanner-name=%s")
    arguments.add("--outputs", output.dirname)
    arguments.add("--report", output.basename)
    for name, value in generator.env.items():
        arguments.add(name + "=" + value, format = "--env=%s")
    arguments.add("--")
    for template in generator.args_template:
        arguments.add(template.replace("{format}", generator.formats[ctx.attr.format]).replace("{output}", "{report}"))
    ctx.actions.run(
        executable = get_tool(ctx.exec_groups[_EXEC_GROUP]),
        arguments = [arguments],
        inputs = found.inputs,
        outputs = [output],
        tools = [generator.executable],
        execution_requirements = network_requirements(ctx.attr.network),
        exec_group = _EXEC_GROUP,
        mnemonic = "OCISBOM",
        progress_message = "Listing what is in image layout %{label}",
    )
    return [DefaultInfo(files = depset([output]))]

oci_sbom = rule(
    implementation = _oci_sbom_impl,
    doc = """Makes a software bill of materials of an image, base layers included, by the generator that the
user registers with `oci_sbom_toolchain`.

The generator sees the layout as `oci_scan_test` shows it to a scanner: as regular files that it cannot change. Its
working directory and `HOME` are empty.

Its output is `NAME.spdx.json` or `NAME.cdx.json`. Generators write times and random numbers into it, so that
its bytes may differ from build to build.""",
    attrs = {
        "format": attr.string(
            doc = "`spdx-json` (SPDX) or `cyclonedx-json` (CycloneDX).",
            default = "spdx-json",
            values = SBOM_FORMATS.keys(),
        ),
        "input": attr.string(
            doc = """In which form the generator gets the layout, as in `oci_scan_test`: `layout`, `oci-archive`, `docker-archive`,
`rootfs` or `registry`. The generator's `{layout}` stands for that. Left out, it is the directory.""",
            values = [""] + LAYOUT_FORMS,
        ),
        "layout": LAYOUT_ATTR,
        "network": NETWORK_ATTR,
        "platform": PLATFORM_ATTR,
    },
    exec_groups = {_EXEC_GROUP: exec_group(toolchains = [
        TOOLCHAIN_TYPE,
        config_common.toolchain_type(SBOM_TOOLCHAIN_TYPE, mandatory = False),
    ])},
)
