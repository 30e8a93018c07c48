"""What the rules for scanners of a build have in common."""

load("//oci/private/providers:image_file.bzl", "OCIImageFileInfo")
load("//oci/private/providers:scan.bzl", "OCIScannerInfo")
load(":artifact_files.bzl", "artifact_files")
load(":toolchain.bzl", "TOOLCHAIN_TYPE")
load(":transitions.bzl", "pull_all_on")

# Where scanners run, which the rules for scanners and who runs them choose alike: on Linux if there is the tool for it.
SCAN_EXEC_GROUPS = {"scan": exec_group(toolchains = [
    TOOLCHAIN_TYPE,
    config_common.toolchain_type(Label("//oci:scan_platform_type"), mandatory = False),
])}

def scanner_attrs(databases = "", program = ""):
    """Makes the attributes of a scanner that has its databases in files.

    Args:
      databases: the words on `databases`.
      program: the words on `program`.

    Returns:
      A dict.
    """
    return {
        "databases": attr.label_list(
            doc = databases,
            allow_files = True,
            cfg = pull_all_on,
            mandatory = True,
        ),
        "network": attr.bool(doc = "Whether it may use the network, which it does not need."),
        "program": attr.label(
            doc = program,
            allow_files = True,
            cfg = config.exec("scan"),
            executable = True,
            mandatory = True,
        ),
    }

def database_files(ctx):
    """Lists the files of a scanner's databases.

    Args:
      ctx: the context of a rule with scanner_attrs.

    Returns:
      A list of File.
    """
    return [file for target in ctx.attr.databases for file in artifact_files(target)]

def scanner_info(ctx, kind, kinds, database, java_database = [], lister = None):
    """Makes what a scanner provides.

    Args:
      ctx: the context of a rule with `network` and `program`.
      kind: as OCIScannerInfo has it, like the rest.
      kinds: a list of string.
      database: a list of File.
      java_database: a list of File.
      lister: the target of the program that lists packages; None where `program` lists and matches in one step.

    Returns:
      An OCIScannerInfo.
    """
    return OCIScannerInfo(
        database = database,
        java_database = java_database,
        kind = kind,
        kinds = kinds,
        lister = _program(lister) if lister else None,
        name = str(ctx.label),
        network = ctx.attr.network,
        program = _program(ctx.attr.program),
    )

def _program(target):
    return struct(
        config = target[OCIImageFileInfo].config if OCIImageFileInfo in target else None,
        run = target[DefaultInfo].files_to_run,
    )
