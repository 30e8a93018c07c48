"""The files of a target that may be an artifact."""

load("//oci/private/providers:artifact.bzl", "OCIArtifactInfo")

def artifact_files(target):
    """Lists the files that a target offers.

    Args:
      target: a target of an `oci.pull` of an artifact, under the transition that asks for its files, or any other.

    Returns:
      A list of File: those of the artifact, or else the target's own.
    """
    if OCIArtifactInfo not in target:
        return target[DefaultInfo].files.to_list()
    files = target[OCIArtifactInfo].files
    return files.files.values() if files else []
