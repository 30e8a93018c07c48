"""What a push tells whoever runs it among others."""

OCIPushInfo = provider(
    doc = "A push. `oci_push` provides it, and has in its runfiles what it sends.",
    fields = {"arguments": "File: the tool's arguments, as for a POSIX shell; paths in it are those in runfiles."},
)
