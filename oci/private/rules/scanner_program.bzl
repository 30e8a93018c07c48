"""The program of a scanner, which is given, or in an image."""

load("//oci/private/providers:image_file.bzl", "OCIImageFileInfo")
load(":oci_image_file.bzl", "oci_image_file")

def scanner_program(name, image, program, path, attributes = ("image", "program")):
    """Names the program, and makes it if it is in an image.

    Args:
      name: the name of the target that makes it.
      image: the label of the image, or None.
      program: the label of the program, or None.
      path: where the image has it.
      attributes: what the two are called.

    Returns:
      A label.
    """
    if bool(image) == bool(program):
        fail("{}: give either {} or {}".format(name, *attributes))
    if not image:
        # What is chosen by a select is for the platform that it runs on.
        native.alias(
            name = name,
            actual = program,
            tags = ["manual"],
            visibility = ["//visibility:private"],
        )
        return name
    oci_image_file(
        name = name,
        image = image,
        path = path,
        tags = ["manual"],
        # Scanners' images are of Linux. Where no execution platform is, what needs them is skipped.
        target_compatible_with = [Label("@platforms//os:linux")],
        visibility = ["//visibility:private"],
    )
    return name

def program_of(target):
    """Reads what is said of a scanner's program.

    Args:
      target: the program's target.

    Returns:
      A struct, as `program` in OCIScannerInfo.
    """
    return struct(
        config = target[OCIImageFileInfo].config if OCIImageFileInfo in target else None,
        run = target[DefaultInfo].files_to_run,
    )
