"""The rule for osv-scanner as the scanner of a build."""

load("//oci/private/common:scanner.bzl", "SCAN_EXEC_GROUPS", "database_files", "scanner_attrs", "scanner_info")
load("//oci/private/providers:scan.bzl", "OCIScannerInfo")
load(":scanner_program.bzl", "scanner_program")

# What the file of an ecosystem is called, in a directory that is called as the ecosystem.
_FILE = "all.zip"

def _osv_scanner_impl(ctx):
    files = [file for file in database_files(ctx) if file.basename == _FILE]
    if not files:
        fail("{}: databases have no {}: name an oci.pull of a database of OSV's, as `oci-pull-all database push osv` makes it, or files ECOSYSTEM/{}".format(
            ctx.label,
            _FILE,
            _FILE,
        ))
    ecosystems = {}
    for file in files:
        ecosystem = file.dirname.split("/")[-1]
        if ecosystem in ecosystems:
            fail("{}: databases have two files of {}: {} and {}".format(
                ctx.label,
                ecosystem,
                ecosystems[ecosystem].short_path,
                file.short_path,
            ))
        ecosystems[ecosystem] = file
    return [scanner_info(ctx, kind = "osv-scanner", kinds = ["vulnerability"], database = files)]

_osv_scanner = rule(
    implementation = _osv_scanner_impl,
    attrs = scanner_attrs(),
    exec_groups = SCAN_EXEC_GROUPS,
    provides = [OCIScannerInfo],
)

def osv_scanner(name, databases, image = None, program = None, network = False, **kwargs):
    """Makes osv-scanner the scanner of a build, if `--@oci_pull_all//oci:scanner` names it.

    It lists packages and matches them in one step, so a new database has it read each image again.

    Args:
      name: the target's name.
      databases: labels of its databases: `@NAME` of an `oci.pull` of what `oci-pull-all database push osv` made, or of files
        `all.zip`, each in a directory that is called as the ecosystem, such as `PyPI/all.zip`.
      image: the label of its image, `@NAME` of an `oci.pull` of `ghcr.io/google/osv-scanner`. Either this or `program` must
        be given.
      program: the label of its program, perhaps a `select`, which chooses for the platform that it runs on.
      network: whether it may use the network, which it does not need.
      **kwargs: attributes that all rules have, such as `visibility`.
    """
    program = scanner_program(name + ".program", image, program, "/osv-scanner")
    _osv_scanner(
        name = name,
        databases = databases,
        network = network,
        program = program,
        **kwargs
    )
