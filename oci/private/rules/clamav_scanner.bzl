"""The rule for ClamAV as the scanner of a build."""

load("//oci/private/common:artifact_files.bzl", "artifact_files")
load("//oci/private/common:transitions.bzl", "pull_all_on")
load("//oci/private/providers:scan.bzl", "OCIScannerInfo")
load(":scanner_program.bzl", "program_of")

# What the files of its database are called.
_ENDINGS = ["cld", "cud", "cvd"]

def _clamav_scanner_impl(ctx):
    files = [
        file
        for target in ctx.attr.databases
        for file in artifact_files(target)
        if file.extension in _ENDINGS
    ]
    if not files:
        fail("{}: databases have no file of ClamAV's, *.{}: name an oci.pull of a database of ClamAV's, as `oci-pull-all database push clamav` makes it, or its files".format(
            ctx.label,
            ", *.".join(_ENDINGS),
        ))
    return [OCIScannerInfo(
        database = files,
        java_database = [],
        kind = "clamav",
        kinds = ["malware"],
        lister = None,
        name = str(ctx.label),
        network = ctx.attr.network,
        program = program_of(ctx.attr.program),
    )]

clamav_scanner = rule(
    implementation = _clamav_scanner_impl,
    doc = """Makes ClamAV the scanner of a build, if `--@oci_pull_all//oci:scanner` names it.

It looks for malware (a policy's `kinds` has `malware`) in the files of an image's root file system, in one step, so a new
database has it read each image again. It knows nothing of packages.""",
    attrs = {
        "databases": attr.label_list(
            doc = """Its databases: `@NAME` of an `oci.pull` of what `oci-pull-all database push clamav` made, or files `*.cvd`, `*.cld`
and `*.cud`.""",
            allow_files = True,
            cfg = pull_all_on,
            mandatory = True,
        ),
        "network": attr.bool(doc = "Whether it may use the network, which it does not need."),
        "program": attr.label(
            doc = "`clamscan`, as it is installed where actions run. Its images cannot be used, because it needs libraries beside it.",
            allow_files = True,
            cfg = "exec",
            executable = True,
            mandatory = True,
        ),
    },
    provides = [OCIScannerInfo],
)
