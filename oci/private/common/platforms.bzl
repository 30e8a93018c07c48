"""Platforms, in the names of the OCI image spec (image-index.md), and how they match."""

def platform_to_string(platform):
    """Writes a platform as `os/architecture[/variant]`.

    Args:
      platform: an OCIPlatformInfo.

    Returns:
      A string.
    """
    parts = [platform.os, platform.architecture]
    if platform.variant:
        parts.append(platform.variant)
    return "/".join(parts)

def check_platform(text):
    """Tells what is wrong with a platform that a user wrote.

    Args:
      text: the platform, which should be `os/architecture[/variant]`.

    Returns:
      None, or a message.
    """
    parts = text.split("/")
    well_formed = len(parts) in (2, 3) and all([
        part and part == part.lower() and not [c for c in part.elems() if c not in _PLATFORM_CHARACTERS]
        for part in parts
    ])
    if well_formed:
        return None
    return "{} is not a platform: write \"os/architecture\" or \"os/architecture/variant\", such as \"linux/amd64\" or \"linux/arm64/v8\"".format(repr(text))

_PLATFORM_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789_.-"

def _effective_variant(platform):
    # containerd's defaults.
    if platform.architecture == "arm64":
        return {"": "v8", "8": "v8"}.get(platform.variant, platform.variant)
    if platform.architecture == "arm":
        return {"": "v7", "5": "v5", "6": "v6", "7": "v7"}.get(platform.variant, platform.variant)
    return platform.variant

def platform_rank(have, wanted):
    """Tells how well an image serves a machine, with containerd's rules for variants.

    An arm machine runs images of its own variant and of lower ones.

    Args:
      have: the image's OCIPlatformInfo.
      wanted: the machine's OCIPlatformInfo.

    Returns:
      A number, lower is better, or None if not at all.
    """
    if have.os != wanted.os or have.architecture != wanted.architecture:
        return None
    have_variant = _effective_variant(have)
    wanted_variant = _effective_variant(wanted)
    if have_variant == wanted_variant:
        return 0
    levels = {"v5": 5, "v6": 6, "v7": 7, "v8": 8}
    if have.architecture == "arm" and have_variant in levels and wanted_variant in levels:
        difference = levels[wanted_variant] - levels[have_variant]
        return difference if difference > 0 else None
    return None

PLATFORM_ATTR = attr.string(
    doc = """Which image of the layout, such as `linux/arm64/v8`. It may be left out when there is only
one.""",
)

def add_platform(ctx, arguments):
    """Adds the attribute `platform` to the tool's arguments.

    Args:
      ctx: the context of a rule with `platform = PLATFORM_ATTR` among its attributes.
      arguments: an Args.
    """
    platform = ctx.attr.platform
    if not platform:
        return
    problem = check_platform(platform)
    if problem:
        fail("{}: platform: {}".format(ctx.label, problem))
    arguments.add("--platform", platform)
