"""The aspect that has each image of a build looked into once, however many tests stand on it."""

load("//oci/private/common:image_input.bzl", "image_alone")
load("//oci/private/common:image_layout.bzl", "image_layout")
load("//oci/private/common:network.bzl", "network_requirements")
load("//oci/private/common:toolchain.bzl", "TOOLCHAIN_TYPE", "get_tool")
load("//oci/private/providers:image.bzl", "OCIImageInfo")
load("//oci/private/providers:scan.bzl", "OCIScanInfo", "OCIScannerInfo")
load("//oci/private/providers:setting.bzl", "OCISettingInfo")

def _scan_aspect_impl(target, ctx):
    if OCIImageInfo not in target:
        images = getattr(ctx.rule.attr, "images", [])
        return [OCIScanInfo(images = [
            image
            for child in images
            if OCIScanInfo in child
            for image in child[OCIScanInfo].images
        ])]
    image = target[OCIImageInfo]
    scanner = ctx.attr._scanner[OCIScannerInfo]
    if not scanner.kind or not ctx.attr._pull_all[OCISettingInfo].value:
        return [OCIScanInfo(images = [])]
    bases = _bases(ctx, image)
    name = ctx.label.name + ".scan/"
    layout = image_layout(ctx, target, image_alone(image), name = name + "layout")
    inventory = ctx.actions.declare_file(name + "inventory.json")
    bom = ctx.actions.declare_file(name + "inventory.cdx.json")
    arguments = _arguments(ctx, "inventory", scanner, scanner.lister)
    arguments.add_all("--layout", layout.files, expand_directories = False)
    arguments.add_all("--java-database", scanner.java_database)
    arguments.add("--output", inventory)
    arguments.add("--list", bom)
    _run(
        ctx,
        scanner,
        scanner.lister,
        arguments,
        inputs = depset(scanner.java_database, transitive = [layout.default_runfiles.files]),
        outputs = [inventory, bom],
        mnemonic = "OCIInventory",
        progress_message = "Listing the packages of %{label}",
    )
    findings = ctx.actions.declare_file(name + "findings.json")
    arguments = _arguments(ctx, "match", scanner, scanner.program)
    arguments.add("--inventory", inventory)
    arguments.add("--list", bom)
    inputs = [inventory, bom] + scanner.database
    if bases:
        arguments.add("--base", bases[0].inventory)
        inputs.append(bases[0].inventory)
    arguments.add_all("--database", scanner.database)
    arguments.add("--output", findings)
    _run(
        ctx,
        scanner,
        scanner.program,
        arguments,
        inputs = depset(inputs),
        outputs = [findings],
        mnemonic = "OCIFindings",
        progress_message = "Matching the packages of %{label}",
    )
    return [OCIScanInfo(images = [struct(
        bases = bases,
        findings = findings,
        inventory = inventory,
        label = ctx.label,
        platform = image.platform,
    )])]

def _bases(ctx, image):
    """What was found in the images that this one stands on, the nearest first."""
    base = getattr(ctx.rule.attr, "base", None)
    if not base:
        return []
    for found in base[OCIScanInfo].images:
        if found.platform == image.platform:
            return [struct(
                inventory = found.inventory,
                labels = [base.label, found.label],
            )] + found.bases
    return []

def _arguments(ctx, command, scanner, program):
    arguments = ctx.actions.args()
    arguments.add_all(["findings", command])
    arguments.add("--kind", scanner.kind)
    arguments.add("--program", program.executable)
    arguments.add(scanner.name, format = "--scanner-name=%s")
    if scanner.network:
        arguments.add("--network")
    return arguments

def _run(ctx, scanner, program, arguments, **kwargs):
    ctx.actions.run(
        executable = get_tool(ctx),
        arguments = [arguments],
        tools = [program],
        execution_requirements = network_requirements(scanner.network),
        resource_set = _resources,
        toolchain = TOOLCHAIN_TYPE,
        **kwargs
    )

def _resources(_os, _inputs):
    # An image of 1 GiB took syft 205 MB, and a database comes on top; Bazel alone reckons with 250 MB.
    return {"cpu": 1, "memory": 1024}

scan_aspect = aspect(
    implementation = _scan_aspect_impl,
    doc = "Provides OCIScanInfo of images whose bases come with all their layers, by the scanner that the build is set to.",
    attr_aspects = ["base", "images"],
    attrs = {
        "_pull_all": attr.label(default = Label("//oci:pull_all")),
        "_scanner": attr.label(default = Label("//oci:scanner")),
    },
    toolchains = [TOOLCHAIN_TYPE],
)
