"""The rule for grype, with syft, as the scanner of a build."""

load("//oci/private/common:artifact_files.bzl", "artifact_files")
load("//oci/private/common:network.bzl", "network_requirements")
load("//oci/private/common:scanner.bzl", "SCAN_EXEC_GROUPS", "scanner_info")
load("//oci/private/common:toolchain.bzl", "get_tool")
load("//oci/private/common:transitions.bzl", "pull_all_on", "single")
load("//oci/private/providers:scan.bzl", "OCIScannerInfo")
load(":scanner_program.bzl", "scanner_program")

_DATABASE = "vulnerability.db"

def _grype_database_impl(ctx):
    target = single(ctx.attr.database)
    files = artifact_files(target)
    files = [file for file in files if file.basename == _DATABASE] or files
    if len(files) != 1:
        fail("{}: {} has {} files, but the database of grype is one: {}, or an archive of it".format(
            ctx.label,
            target.label,
            len(files),
            _DATABASE,
        ))
    program = ctx.attr.program[DefaultInfo].files_to_run
    outputs = [ctx.actions.declare_file("{}/{}".format(ctx.label.name, name)) for name in [_DATABASE, "import.json"]]
    arguments = ctx.actions.args()
    arguments.add_all(["findings", "import"])
    arguments.add("--program", program.executable)
    arguments.add(str(ctx.label), format = "--scanner-name=%s")
    arguments.add("--database", files[0])
    arguments.add_all("--output", outputs)
    ctx.actions.run(
        executable = get_tool(ctx.exec_groups["scan"]),
        arguments = [arguments],
        inputs = files,
        outputs = outputs,
        tools = [program],
        execution_requirements = network_requirements(False),
        mnemonic = "OCIImport",
        progress_message = "Importing the database of %{label}",
        exec_group = "scan",
    )
    return [DefaultInfo(files = depset(outputs))]

_grype_database = rule(
    implementation = _grype_database_impl,
    attrs = {
        "database": attr.label(allow_files = True, cfg = pull_all_on, mandatory = True),
        "program": attr.label(allow_files = True, cfg = config.exec("scan"), executable = True, mandatory = True),
    },
    exec_groups = SCAN_EXEC_GROUPS,
)

def _grype_scanner_impl(ctx):
    return [scanner_info(
        ctx,
        kind = "grype",
        kinds = ["vulnerability"],
        database = ctx.files.database,
        lister = ctx.attr.syft,
    )]

_grype_scanner = rule(
    implementation = _grype_scanner_impl,
    attrs = {
        # In one configuration, whatever is scanned, so that it is imported once.
        "database": attr.label(cfg = config.exec("scan"), mandatory = True),
        "network": attr.bool(),
        "program": attr.label(allow_files = True, cfg = config.exec("scan"), executable = True, mandatory = True),
        "syft": attr.label(allow_files = True, cfg = config.exec("scan"), executable = True, mandatory = True),
    },
    exec_groups = SCAN_EXEC_GROUPS,
    provides = [OCIScannerInfo],
)

def grype_scanner(
        name,
        database,
        image = None,
        program = None,
        syft_image = None,
        syft_program = None,
        network = False,
        **kwargs):
    """Makes grype the scanner of a build, if `--@oci_pull_all//oci:scanner` names it. syft lists packages for it.

    Args:
      name: the target's name.
      database: the label of its database: `vulnerability.db`, an archive (`.tar.zst`, `.tar.gz`, `.tar`) with that file in it,
        or `@NAME` of an `oci.pull` of an artifact with either. It is imported once, by the grype that matches with it.
      image: the label of grype's image, `@NAME` of an `oci.pull` of `ghcr.io/anchore/grype`. Either this or `program` must be
        given.
      program: the label of grype's program, perhaps a `select`, which chooses for the platform that it runs on.
      syft_image: the label of syft's image, `@NAME` of an `oci.pull` of `ghcr.io/anchore/syft`. Either this or `syft_program`
        must be given.
      syft_program: the label of syft's program.
      network: whether they may use the network, which they do not need.
      **kwargs: attributes that all rules have, such as `visibility`.
    """
    program = scanner_program(name + ".program", image, program, "/grype")
    syft = scanner_program(name + ".syft", syft_image, syft_program, "/syft", ("syft_image", "syft_program"))
    _grype_database(
        name = name + ".database",
        database = database,
        program = program,
        tags = ["manual"],
        visibility = ["//visibility:private"],
    )
    _grype_scanner(
        name = name,
        database = name + ".database",
        network = network,
        program = program,
        syft = syft,
        **kwargs
    )
