"""How a scanner of the build looks into an image: its packages, and what is known against them."""

load("//oci/private/providers:scan.bzl", "OCIScanInfo")
load(":network.bzl", "network_requirements")
load(":platforms.bzl", "platform_to_string")
load(":toolchain.bzl", "get_tool")

# What is found in files, and not by the list of packages.
_OF_FILES = ["misconfiguration", "secret"]

def scan_by_all(ctx, scanners, layout, name, base = None, platform = None, **kwargs):
    """Has an image scanned by each scanner of a build.

    Args:
      ctx: the context of a rule or an aspect with SCAN_EXEC_GROUPS.
      scanners: a list of OCIScannerInfo, each of another kind.
      layout: as scan_image has it.
      name: a directory for the results.
      base: the target that the image stands on, with scan_aspect, and the OCIPlatformInfo of its image; None where it has none.
      platform: as scan_image has it.
      **kwargs: what else scan_image has.

    Returns:
      A list of struct, as `images` of OCIScanInfo.
    """
    return [
        scan_image(
            ctx,
            scanner,
            layout,
            name if len(scanners) == 1 else "{}/{}".format(name, scanner.kind),
            bases = bases_of(base[0], base[1], scanner) if base else [],
            platform = platform,
            **kwargs
        )
        for scanner in scanners
    ]

def scan_image(ctx, scanner, layout, name, label, bases, platform = None, choice = []):
    """Has an image scanned.

    Args:
      ctx: the context of a rule or an aspect with SCAN_EXEC_GROUPS.
      scanner: the OCIScannerInfo of a scanner of the build.
      layout: a struct with `path`, the File of the image's layout, and `inputs`, a depset of the files that belong to it.
      name: a directory for the results.
      label: the Label of the target that makes the image.
      bases: what bases_of returns of the image's base; empty where it has none.
      platform: the image's OCIPlatformInfo; None where it is not known before the layout is read.
      choice: a list of string, arguments of the tool that say which image of the layout it is.

    Returns:
      A struct, as in `images` of OCIScanInfo.
    """
    image = ctx.actions.args()
    image.add_all("--layout", [layout.path], expand_directories = False)
    image.add_all(choice)
    inventory = ctx.actions.declare_file(name + "/inventory.json")
    findings = ctx.actions.declare_file(name + "/findings.json")
    if scanner.lister:
        _scan_in_steps(ctx, scanner, image, layout.inputs, name, bases, inventory, findings)
    else:
        _scan_at_once(ctx, scanner, image, layout.inputs, bases, inventory, findings)
    return struct(
        bases = bases,
        findings = findings,
        inventory = inventory,
        label = label,
        platform = platform,
        scanner = scanner,
    )

def _scan_at_once(ctx, scanner, image, layout, bases, inventory, findings):
    base = [base.inventory for base in bases[:1]]
    arguments = _arguments(ctx, "scan", scanner, scanner.program)
    arguments.add_all(base, before_each = "--base")
    arguments.add_all(scanner.database, before_each = "--database")
    arguments.add("--inventory", inventory)
    arguments.add("--output", findings)
    _run(
        ctx,
        scanner,
        scanner.program,
        [arguments, image],
        base + scanner.database,
        layout,
        outputs = [inventory, findings],
        mnemonic = "OCIFindings",
        progress_message = "Scanning %{label}",
        resource_set = _resources_of_malware if "malware" in scanner.kinds else _resources,
    )

def _scan_in_steps(ctx, scanner, image, layout, name, bases, inventory, findings):
    bom = ctx.actions.declare_file(name + "/inventory.cdx.json")
    arguments = _arguments(ctx, "inventory", scanner, scanner.lister)
    arguments.add_all("--java-database", scanner.java_database)
    arguments.add("--output", inventory)
    arguments.add("--list", bom)
    _run(
        ctx,
        scanner,
        scanner.lister,
        [arguments, image],
        scanner.java_database,
        layout,
        outputs = [inventory, bom],
        mnemonic = "OCIInventory",
        progress_message = "Listing the packages of %{label}",
    )
    files = []
    of_files = [kind for kind in scanner.kinds if kind in _OF_FILES]
    if of_files:
        files = [ctx.actions.declare_file(name + "/files.json")]
        arguments = _arguments(ctx, "files", scanner, scanner.program)
        arguments.add_all(of_files, before_each = "--look-for")
        arguments.add_all("--output", files)
        _run(
            ctx,
            scanner,
            scanner.program,
            [arguments, image],
            [],
            layout,
            outputs = files,
            mnemonic = "OCIFileFindings",
            progress_message = "Looking into the files of %{label}",
        )
    arguments = _arguments(ctx, "match", scanner, scanner.program)
    arguments.add("--inventory", inventory)
    arguments.add("--list", bom)
    inputs = [inventory, bom] + files + scanner.database
    arguments.add_all("--files", files)
    arguments.add_all([kind for kind in scanner.kinds if kind == "license"], before_each = "--look-for")
    if bases:
        arguments.add("--base", bases[0].inventory)
        inputs.append(bases[0].inventory)
    arguments.add_all("--database", scanner.database)
    arguments.add("--output", findings)
    _run(
        ctx,
        scanner,
        scanner.program,
        [arguments],
        inputs,
        outputs = [findings],
        mnemonic = "OCIFindings",
        progress_message = "Matching the packages of %{label}",
    )

def bases_of(base, platform, scanner):
    """What a scanner found in a base, and in what that stands on.

    Args:
      base: the target that is named as base, with scan_aspect.
      platform: the OCIPlatformInfo of its image that is meant.
      scanner: the OCIScannerInfo of the scanner.

    Returns:
      A list of struct, as `bases` in OCIScanInfo.
    """
    for found in base[OCIScanInfo].images:
        if found.platform == platform and found.scanner.name == scanner.name:
            return [struct(
                inventory = found.inventory,
                labels = [base.label, found.label],
            )] + found.bases
    fail("{}: its image for {} was not scanned, so it cannot be told what is the base's".format(base.label, platform_to_string(platform)))

def _arguments(ctx, command, scanner, program):
    arguments = ctx.actions.args()
    arguments.add_all(["findings", command])
    arguments.add("--kind", scanner.kind)
    arguments.add("--program", program.run.executable)
    if program.config:
        arguments.add("--scanner-config", program.config)
    arguments.add(scanner.name, format = "--scanner-name=%s")
    if scanner.network:
        arguments.add("--network")
    return arguments

def _run(ctx, scanner, program, arguments, inputs, more = depset(), resource_set = None, **kwargs):
    ctx.actions.run(
        executable = get_tool(ctx.exec_groups["scan"]),
        arguments = arguments,
        inputs = depset(inputs + ([program.config] if program.config else []), transitive = [more]),
        tools = [program.run],
        execution_requirements = network_requirements(scanner.network),
        resource_set = resource_set or _resources,
        exec_group = "scan",
        **kwargs
    )

def _resources(_os, _inputs):
    # An image of 1 GiB took syft 205 MB, and a database comes on top; Bazel alone reckons with 250 MB.
    return {"cpu": 1, "memory": 1024}

def _resources_of_malware(_os, _inputs):
    # ClamAV has all signatures in memory.
    return {"cpu": 1, "memory": 2048}
