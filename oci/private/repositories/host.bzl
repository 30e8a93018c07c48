"""The machine on which repository rules run, and the tool there."""

def tool_name(rctx):
    """The tool's file name in its repository.

    Args:
      rctx: a repository_ctx.

    Returns:
      A string.
    """
    return "oci-pull-all.exe" if host_os(rctx) == "windows" else "oci-pull-all"

def host_os(rctx):
    """The host's operating system, as @platforms names it.

    Args:
      rctx: a repository_ctx.

    Returns:
      A string.
    """
    name = rctx.os.name.lower()
    if name.startswith("windows"):
        return "windows"
    if name.startswith("mac"):
        return "macos"
    return "linux"

def host_cpu(rctx):
    """The host's processor, as @platforms names it.

    Args:
      rctx: a repository_ctx.

    Returns:
      A string.
    """
    return {
        "amd64": "x86_64",
        "arm64": "aarch64",
        "x64": "x86_64",
    }.get(rctx.os.arch, rctx.os.arch)
