"""A pulled artifact and its files."""

OCIArtifactInfo = provider(
    doc = """An artifact: a manifest whose blobs are not the layers of a file system (OCI image spec, manifest.md,
"Guidelines for Artifact Usage").""",
    fields = {
        "artifact_type": "string: what it is, its `artifactType` or else its config's media type.",
        "digest": "string: the manifest's digest.",
        "files": """OCIArtifactFilesInfo: its files; None where only the manifest was pulled. `oci_artifact_files` asks for
them.""",
        "manifest": "File: the manifest.",
    },
)

OCIArtifactFilesInfo = provider(
    doc = "The files of an artifact.",
    fields = {
        "files": """dict of string to File: each blob by its title (annotation `org.opencontainers.image.title`), or else
by its media type; and what is in archives among them, below the archive's name without its ending.""",
        "problems": "dict of string to string: what is to be said of files, such as why an archive was not unpacked, or not all of it.",
    },
)
