"""Platforms, in the names of the OCI image spec (image-index.md), and how they match."""

load("//oci/private/providers:image.bzl", "OCIPlatformInfo")

def platform_to_string(platform):
    """Writes a platform as `os/architecture[/variant][:os.version]`.

    Args:
      platform: an OCIPlatformInfo.

    Returns:
      A string.
    """
    parts = [platform.os, platform.architecture]
    if platform.variant:
        parts.append(platform.variant)
    version = _os_version(platform)
    return "/".join(parts) + (":" + version if version else "")

def _os_version(platform):
    # Only a pulled image has one.
    return getattr(platform, "os_version", "")

def check_platform(text):
    """Tells what is wrong with a platform that a user wrote.

    Args:
      text: the platform, which should be `os/architecture[/variant][:os.version]`.

    Returns:
      None, or a message.
    """
    names, colon, version = text.partition(":")
    parts = names.split("/")
    well_formed = len(parts) in (2, 3) and all([_is_made_of(part, _WORD) for part in parts])
    if well_formed and (not colon or _is_made_of(version, _VERSION)):
        return None
    return "{} is not a platform: write \"os/architecture\" or \"os/architecture/variant\", such as \"linux/amd64\" or \"linux/arm64/v8\"".format(repr(text))

def parse_platform(text):
    """Reads a platform of which check_platform tells nothing.

    Args:
      text: the platform.

    Returns:
      An OCIPlatformInfo.
    """
    names, _, version = text.partition(":")
    parts = names.split("/")
    return OCIPlatformInfo(
        architecture = parts[1],
        os = parts[0],
        os_version = version,
        variant = parts[2] if len(parts) > 2 else "",
    )

_WORD = "abcdefghijklmnopqrstuvwxyz0123456789_.-"
_VERSION = _WORD + "ABCDEFGHIJKLMNOPQRSTUVWXYZ !\"#$%&'()*+,/:;<=>?@[\\]^`{|}~"

def _is_made_of(text, characters):
    return bool(text) and not [c for c in text.elems() if c not in characters]

# containerd's defaults for processors whose variants are levels.
_DEFAULT_VARIANTS = {"amd64": "v1", "arm": "v7", "arm64": "v8"}

# Other names of variants, by processor, and those that containerd makes of them.
_VARIANTS = {
    "arm": {"5": "v5", "6": "v6", "7": "v7", "8": "v8"},
    "arm64": {"8": "v8", "9": "v9", "9.0": "v9", "v8.0": "v8", "v9.0": "v9"},
}

def _variant(platform):
    return _VARIANTS.get(platform.architecture, {}).get(platform.variant, platform.variant)

def _level(platform):
    """The major and minor number of a variant that is a level, or None."""
    variant = _variant(platform) or _DEFAULT_VARIANTS.get(platform.architecture, "")
    if platform.architecture not in _DEFAULT_VARIANTS or not variant.startswith("v"):
        return None
    numbers = variant.removeprefix("v").split(".", 1 if platform.architecture == "arm64" else 0)

    # What is written otherwise, as v07 or v1.0, is a name like any other.
    if [number for number in numbers if not number.isdigit() or number.startswith("0")]:
        return None
    return (int(numbers[0]), int(numbers[1]) if len(numbers) > 1 else 0)

def platform_rank(have, wanted):
    """Tells how well an image serves a machine, with containerd's rules for variants.

    A machine runs images of its own variant and of lower ones: arm, amd64, and arm64, whose v9.0 runs what
    v8.5 does. A version of the system fits if it begins with the one wanted.

    Args:
      have: the image's OCIPlatformInfo.
      wanted: the machine's OCIPlatformInfo.

    Returns:
      A number, lower is better, or None if not at all.
    """
    if have.os != wanted.os or have.architecture != wanted.architecture:
        return None
    version = _os_version(wanted)
    if version and not (_os_version(have) + ".").startswith(version + "."):
        return None
    have_level = _level(have)
    wanted_level = _level(wanted)
    if not have_level or not wanted_level:
        return 0 if have.variant == wanted.variant else None
    majors = wanted_level[0] - have_level[0]

    # Where versions have minor ones, a major one begins with five of those before.
    minors = wanted_level[1] - have_level[1] + (5 if majors > 0 else 0)
    return 100 * majors + minors if majors >= 0 and minors >= 0 else None

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
