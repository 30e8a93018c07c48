"""The rule for osv-scanner as the scanner of a build."""

load("//oci/private/common:artifact_files.bzl", "artifact_files")
load("//oci/private/common:transitions.bzl", "pull_all_on")
load("//oci/private/providers:scan.bzl", "OCIScannerInfo")
load(":scanner_program.bzl", "program_of", "scanner_program")

# What the file of an ecosystem is called, in a directory that is called as the ecosystem.
_FILE = "all.zip"

def _osv_scanner_impl(ctx):
    files = [
        file
        for target in ctx.attr.databases
        for file in artifact_files(target)
        if file.basename == _FILE
    ]
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
    return [OCIScannerInfo(
        database = files,
        java_database = [],
        kind = "osv-scanner",
        kinds = ["vulnerability"],
        lister = None,
        name = str(ctx.label),
        network = ctx.attr.network,
        program = program_of(ctx.attr.program),
    )]

_osv_scanner = rule(
    implementation = _osv_scanner_impl,
    attrs = {
        "databases": attr.label_list(allow_files = True, cfg = pull_all_on, mandatory = True),
        "network": attr.bool(),
        "program": attr.label(allow_files = True, cfg = "exec", executable = True, mandatory = True),
    },
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
