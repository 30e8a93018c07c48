"""The rule for ClamAV as the scanner of a build."""

load("//oci/private/common:scanner.bzl", "SCAN_EXEC_GROUPS", "database_files", "scanner_attrs", "scanner_info")
load("//oci/private/providers:scan.bzl", "OCIScannerInfo")

# What the files of its database are called.
_ENDINGS = ["cld", "cud", "cvd"]

def _clamav_scanner_impl(ctx):
    files = [file for file in database_files(ctx) if file.extension in _ENDINGS]
    if not files:
        fail("{}: databases have no file of ClamAV's, *.{}: name an oci.pull of a database of ClamAV's, as `oci-pull-all database push clamav` makes it, or its files".format(
            ctx.label,
            ", *.".join(_ENDINGS),
        ))
    return [scanner_info(ctx, kind = "clamav", kinds = ["malware"], database = files)]

clamav_scanner = rule(
    implementation = _clamav_scanner_impl,
    doc = """Makes ClamAV the scanner of a build, if `--@oci_pull_all//oci:scanner` names it.

It looks for malware (a policy's `kinds` has `malware`) in the files of an image's root file system, in one step, so a new
database has it read each image again. It knows nothing of packages.""",
    attrs = scanner_attrs(
        databases = """Its databases: `@NAME` of an `oci.pull` of what `oci-pull-all database push clamav` made, or files `*.cvd`, `*.cld`
and `*.cud`.""",
        program = "`clamscan`, as it is installed where actions run. Its images cannot be used, because it needs libraries beside it.",
    ),
    exec_groups = SCAN_EXEC_GROUPS,
    provides = [OCIScannerInfo],
)
