"""The program of a scanner, which is given, or in an image."""

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
