"""The target that has a pulled artifact's files."""

load("//oci/private/providers:artifact.bzl", "OCIArtifactFilesInfo")

def _pulled_artifact_files_impl(ctx):
    prefix = ctx.attr.directory + "/"
    pulled = OCIArtifactFilesInfo(
        files = {file.owner.name.removeprefix(prefix): file for file in ctx.files.files},
        problems = ctx.attr.problems,
    )
    return [
        DefaultInfo(files = depset(ctx.files.files)),
        platform_common.ToolchainInfo(pulled = pulled),
        pulled,
    ]

pulled_artifact_files = rule(
    implementation = _pulled_artifact_files_impl,
    doc = "Provides the files of an artifact that an oci_pull_all repository has.",
    attrs = {
        "directory": attr.string(doc = "The directory in the repository that has the files.", mandatory = True),
        "files": attr.label_list(doc = "All files.", allow_files = True, mandatory = True),
        "problems": attr.string_dict(doc = "What is to be said of files, such as why an archive was not unpacked, or not all of it."),
    },
    provides = [OCIArtifactFilesInfo],
)
